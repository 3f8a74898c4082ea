"""Words of the synthetic marketplace: what is sold, where, and how people ask for it, in Latin and Cyrillic."""

from __future__ import annotations

SUBCATEGORIES_PER_CATEGORY = 4

# Category -> its subcategories as (name, Latin word, Cyrillic word, typical price).
CATEGORIES: dict[str, tuple[tuple[str, str, str, float], ...]] = {
    "phones": (
        ("smartphones", "iphone", "айфон", 30_000),
        ("phone cases", "phone case", "чехол", 700),
        ("chargers", "charger", "зарядка", 900),
        ("smart watches", "smart watch", "умные часы", 9_000),
    ),
    "computers": (
        ("laptops", "laptop", "ноутбук", 45_000),
        ("monitors", "monitor", "монитор", 12_000),
        ("keyboards", "keyboard", "клавиатура", 2_500),
        ("printers", "printer", "принтер", 7_000),
    ),
    "home": (
        ("sofas", "sofa", "диван", 18_000),
        ("tables", "table", "стол", 6_000),
        ("lamps", "lamp", "лампа", 1_500),
        ("carpets", "carpet", "ковёр", 4_000),
    ),
    "kitchen": (
        ("fridges", "fridge", "холодильник", 25_000),
        ("kettles", "kettle", "чайник", 1_800),
        ("cookware", "saucepan", "кастрюля", 2_200),
        ("coffee machines", "coffee machine", "кофемашина", 22_000),
    ),
    "clothes": (
        ("dresses", "dress", "платье", 2_500),
        ("jackets", "jacket", "куртка", 5_000),
        ("shoes", "sneakers", "кроссовки", 4_500),
        ("bags", "handbag", "сумка", 3_000),
    ),
    "children": (
        ("prams", "pram", "коляска", 15_000),
        ("toys", "lego", "конструктор", 2_000),
        ("child seats", "child seat", "автокресло", 6_500),
        ("school", "school bag", "рюкзак школьный", 2_800),
    ),
    "sport": (
        ("bicycles", "bicycle", "велосипед", 16_000),
        ("skis", "skis", "лыжи", 8_000),
        ("fitness", "dumbbells", "гантели", 3_500),
        ("fishing", "fishing rod", "удочка", 2_700),
    ),
    "cars": (
        ("tyres", "winter tyres", "зимняя резина", 14_000),
        ("car audio", "car radio", "магнитола", 5_500),
        ("car parts", "headlight", "фара", 4_200),
        ("tools", "wrench set", "набор ключей", 3_200),
    ),
    "garden": (
        ("seedlings", "seedlings", "рассада", 500),
        ("lawn mowers", "lawn mower", "газонокосилка", 13_000),
        ("greenhouses", "greenhouse", "теплица", 20_000),
        ("grills", "grill", "мангал", 3_800),
    ),
    "music": (
        ("guitars", "guitar", "гитара", 9_500),
        ("synthesizers", "synthesizer", "синтезатор", 17_000),
        ("vinyl", "vinyl records", "виниловые пластинки", 1_200),
        ("headphones", "headphones", "наушники", 4_800),
    ),
    "animals": (
        ("dog food", "dog food", "корм для собак", 1_900),
        ("aquariums", "aquarium", "аквариум", 5_200),
        ("cat trees", "cat tree", "когтеточка", 2_300),
        ("carriers", "pet carrier", "переноска", 1_700),
    ),
    "books": (
        ("novels", "novel", "роман", 400),
        ("textbooks", "textbook", "учебник", 600),
        ("comics", "comics", "комиксы", 800),
        ("board games", "board game", "настольная игра", 1_600),
    ),
}

CITIES = ("Moscow", "Saint Petersburg", "Kazan", "Novosibirsk", "Yekaterinburg", "Samara", "Omsk", "Perm")
GENDERS = ("female", "male")
AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55+")
SURFACES = ("home", "search")
BRANDS = ("Nova", "Вектор", "Orion", "Заря", "Atlas", "Полюс", "Lumen", "Берег")
CONDITIONS = ("new", "как новый", "used", "подержанный")

# Put before or after the word of a query, by language.
LATIN_MODIFIERS = ("{}", "cheap {}", "new {}", "used {}", "buy {}")
CYRILLIC_MODIFIERS = ("{}", "{} недорого", "новый {}", "подержанный {}", "купить {}")


def queries() -> list[str]:
    """All query texts, [subcategory, language, modifier, spelling] flattened: people type capitals and punctuation, too."""
    texts = []
    for subcategories in CATEGORIES.values():
        for _, latin, cyrillic, _ in subcategories:
            for word, modifiers in ((latin, LATIN_MODIFIERS), (cyrillic, CYRILLIC_MODIFIERS)):
                for modifier in modifiers:
                    text = modifier.format(word)
                    texts += [text, text.capitalize(), f"{text}!"]
    return texts


QUERIES_PER_LANGUAGE = len(LATIN_MODIFIERS) * 3
