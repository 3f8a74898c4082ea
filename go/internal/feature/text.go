package feature

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// lowerBelow is the first code point that normalisation keeps as it is.
const lowerBelow = 0x530

// Normalise lower-cases, turns each run of separators into one space, and trims.
func Normalise(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range text {
		if isSeparator(r) {
			if n := b.Len(); n > 0 && b.String()[n-1] != ' ' {
				b.WriteByte(' ')
			}
			continue
		}
		if r < lowerBelow {
			r = unicode.ToLower(r) // the simple mapping, one code point to one
		}
		b.WriteRune(r)
	}
	return strings.TrimSuffix(b.String(), " ")
}

func isSeparator(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	case r >= 0x2000 && r <= 0x200a:
		return true
	}
	switch r {
	case 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000:
		return true
	}
	return false
}

// FNV-1a, 64 bit: offset basis and prime of the IETF draft by Fowler, Noll, Vo and Eastlake.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// HashID is 1 + the FNV-1a hash of the bytes of text modulo buckets; 0 for no text.
func HashID(text string, buckets uint32) int64 {
	if text == "" {
		return 0
	}
	hash := uint64(fnvOffset)
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * fnvPrime
	}
	return 1 + int64(hash%uint64(buckets))
}

// HashTokens writes the ids of the first len(dst) tokens of text, padded with 0.
func HashTokens(dst []int64, text string, buckets uint32) {
	clear(dst)
	rest := Normalise(text)
	for i := 0; i < len(dst) && rest != ""; i++ {
		var token string
		token, rest, _ = strings.Cut(rest, " ")
		dst[i] = HashID(token, buckets)
	}
}
