package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Sealer encrypts what may not be in the database in the clear, under keys that are not in the database. It is safe for
// concurrent use.
//
// A sealed value is a version byte, the id of its key (4 bytes), a nonce (12 bytes), and AES-256-GCM over the text, bound
// to the row that it belongs to.
type Sealer struct {
	names []byte // key of the HMAC that stands for a state or device code
	first [4]byte
	keys  map[[4]byte]cipher.AEAD
}

const sealVersion = 1

// ErrSealed is a value that was not sealed with one of our keys for this row, or was changed since.
var ErrSealed = errors.New("cannot be decrypted with this key")

// NewSealer takes keys of 32 bytes in base64, separated by commas. The first one encrypts, all decrypt, so that a key can
// be replaced; the last one names rows, and so goes last.
func NewSealer(keys string) (*Sealer, error) {
	s := &Sealer{keys: map[[4]byte]cipher.AEAD{}}
	for i, text := range strings.Split(keys, ",") {
		// The text is a secret: no error repeats it.
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("key %d is not 32 bytes in base64", i+1)
		}
		block, err := aes.NewCipher(derive(key, "seal"))
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		id := [4]byte(derive(key, "id"))
		if i == 0 {
			s.first = id
		}
		s.keys[id] = aead
		s.names = derive(key, "name")
	}
	return s, nil
}

// NewSealKey makes a key for NewSealer.
func NewSealKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

func derive(key []byte, what string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("towpath login flows: " + what))
	return h.Sum(nil)
}

// Name stands for a text in the database, which cannot tell the text from it.
func (s *Sealer) Name(text string) []byte {
	h := hmac.New(sha256.New, s.names)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// Seal encrypts a text for a row.
func (s *Sealer) Seal(text, row []byte) []byte {
	sealed := append([]byte{sealVersion}, s.first[:]...)
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce) // never fails
	return s.keys[s.first].Seal(append(sealed, nonce...), nonce, text, row)
}

// Open decrypts what Seal made for the same row. ErrSealed: it did not.
func (s *Sealer) Open(sealed, row []byte) ([]byte, error) {
	if len(sealed) < 33 || sealed[0] != sealVersion {
		return nil, ErrSealed
	}
	aead := s.keys[[4]byte(sealed[1:5])]
	if aead == nil {
		return nil, ErrSealed
	}
	text, err := aead.Open(nil, sealed[5:17], sealed[17:], row)
	if err != nil {
		return nil, ErrSealed
	}
	return text, nil
}

// Has reports whether the key with this id, as the view login_flows shows it, is one of ours.
func (s *Sealer) Has(id string) bool {
	for k := range s.keys {
		if fmt.Sprintf("%x", k) == id {
			return true
		}
	}
	return false
}
