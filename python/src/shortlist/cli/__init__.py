"""The `shortlist` command: a command per file, heavy imports inside the functions so that help is instant."""
