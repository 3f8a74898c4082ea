package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// A record is one user: a version byte, then as varints the number of dropped events, the item ids, the
// distinct actions and each event's index into them, the times as differences, the features by name; and
// at the end the CRC-32C of all that.
const recordVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kinds of item ids in a record.
const (
	noItems = iota
	intItems
	stringItems
)

// RecordError says that a stored user cannot be read.
type RecordError struct {
	Problem string
}

func (e *RecordError) Error() string {
	return "the stored record of the user is damaged: " + e.Problem + ": restore the store from a backup, or import the user again"
}

func encodeUser(u *User) []byte {
	b := []byte{recordVersion}
	b = binary.AppendUvarint(b, uint64(u.Dropped))
	b = appendItems(b, u.History.Items)
	b = appendActions(b, u.History.Actions)
	b = binary.AppendUvarint(b, uint64(len(u.History.Times)))
	previous := int64(0)
	for _, t := range u.History.Times {
		b = binary.AppendVarint(b, t-previous)
		previous = t
	}
	b = binary.AppendUvarint(b, uint64(len(u.Features)))
	for _, name := range slices.Sorted(maps.Keys(u.Features)) {
		b = appendValue(appendText(b, name), u.Features[name])
	}
	return withChecksum(b)
}

func withChecksum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func appendItems(b []byte, ids rank.ItemIDs) []byte {
	switch {
	case len(ids.Ints) > 0:
		b = binary.AppendUvarint(append(b, intItems), uint64(len(ids.Ints)))
		for _, id := range ids.Ints {
			b = binary.AppendVarint(b, id)
		}
	case len(ids.Strings) > 0:
		b = appendTexts(append(b, stringItems), ids.Strings)
	default:
		b = append(b, noItems)
	}
	return b
}

// appendActions writes a dictionary: users repeat a few actions.
func appendActions(b []byte, actions []string) []byte {
	index := map[string]uint64{}
	var distinct []string
	for _, action := range actions {
		if _, ok := index[action]; !ok {
			index[action] = uint64(len(distinct))
			distinct = append(distinct, action)
		}
	}
	b = appendTexts(b, distinct)
	b = binary.AppendUvarint(b, uint64(len(actions)))
	for _, action := range actions {
		b = binary.AppendUvarint(b, index[action])
	}
	return b
}

func appendValue(b []byte, v rank.Value) []byte {
	b = append(b, byte(v.Kind))
	switch v.Kind {
	case rank.KindInteger:
		b = binary.AppendVarint(b, v.Integer)
	case rank.KindNumber:
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Number))
	case rank.KindText:
		b = appendText(b, v.Text)
	case rank.KindTexts:
		b = appendTexts(b, v.Texts)
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, text := range texts {
		b = appendText(b, text)
	}
	return b
}

// decodeUser reads a record; an absent one is an empty user. It keeps nothing of b.
func decodeUser(b []byte) (*User, error) {
	if b == nil {
		return &User{}, nil
	}
	if len(b) < 5 {
		return nil, &RecordError{Problem: fmt.Sprintf("it has %d bytes", len(b))}
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, &RecordError{Problem: "its checksum is wrong"}
	}
	if body[0] != recordVersion {
		return nil, &RecordError{Problem: fmt.Sprintf("it has format %d and this server reads %d", body[0], recordVersion)}
	}
	r := &recordReader{rest: body[1:]}
	u := &User{Dropped: int64(r.uvarint())}
	switch kind := r.byte(); kind {
	case intItems:
		u.History.Items.Ints = make([]int64, r.count())
		for i := range u.History.Items.Ints {
			u.History.Items.Ints[i] = r.varint()
		}
	case stringItems:
		u.History.Items.Strings = r.texts()
	case noItems:
	default:
		r.fail("unknown kind of item ids")
	}
	u.History.Actions = r.actions()
	if n := r.count(); n > 0 {
		u.History.Times = make([]int64, n)
		previous := int64(0)
		for i := range u.History.Times {
			previous += r.varint()
			u.History.Times[i] = previous
		}
	}
	u.Features = r.features()
	if n := u.History.Items.Len(); (len(u.History.Actions) != 0 && len(u.History.Actions) != n) || (len(u.History.Times) != 0 && len(u.History.Times) != n) {
		r.fail("its lists have different lengths")
	}
	if len(r.rest) > 0 {
		r.fail("bytes follow its end")
	}
	if r.err != nil {
		return nil, &RecordError{Problem: r.err.Error()}
	}
	return u, nil
}

// recordReader reads values off rest; after the first failure it returns zeros.
type recordReader struct {
	rest []byte
	err  error
}

func (r *recordReader) fail(problem string) {
	if r.err == nil {
		r.err = errors.New(problem)
	}
	r.rest = nil
}

func (r *recordReader) byte() byte {
	if len(r.rest) == 0 {
		r.fail("it ends early")
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("it ends early")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *recordReader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail("it ends early")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count reads a number of elements, each of at least one byte, so that it cannot ask for absurd memory.
func (r *recordReader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.fail("a count is larger than the record")
		return 0
	}
	return int(n)
}

func (r *recordReader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.fail("it ends early")
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *recordReader) text() string { return string(r.bytes(r.count())) }

func (r *recordReader) texts() []string {
	texts := make([]string, r.count())
	for i := range texts {
		texts[i] = r.text()
	}
	return texts
}

func (r *recordReader) actions() []string {
	distinct := r.texts()
	n := r.count()
	if n == 0 {
		return nil
	}
	actions := make([]string, n)
	for i := range actions {
		at := r.uvarint()
		if at >= uint64(len(distinct)) {
			r.fail("an action is not in its list")
			return nil
		}
		actions[i] = distinct[at]
	}
	return actions
}

func (r *recordReader) features() rank.Features {
	n := r.count()
	features := make(rank.Features, n)
	for range n {
		name := r.text()
		v := rank.Value{Kind: rank.ValueKind(r.byte())}
		switch v.Kind {
		case rank.KindNone:
		case rank.KindInteger:
			v.Integer = r.varint()
		case rank.KindNumber:
			if b := r.bytes(8); b != nil {
				v.Number = math.Float64frombits(binary.LittleEndian.Uint64(b))
			}
		case rank.KindText:
			v.Text = r.text()
		case rank.KindTexts:
			v.Texts = r.texts()
		default:
			r.fail("a feature has an unknown kind")
		}
		features[name] = v
	}
	return features
}
