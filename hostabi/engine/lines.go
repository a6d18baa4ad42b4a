package engine

import (
	"bytes"

	"github.com/towpath/towpath/hostabi"
)

// lines turns a stream of bytes into log lines and keeps the end of the stream.
type lines struct {
	level   int32
	pending []byte // of a line without its newline, at most hostabi.MaxLog
	tail    []byte // at most hostabi.StderrTail
}

func (l *lines) write(host hostabi.Host, p []byte) {
	l.tail = append(l.tail, p[max(0, len(p)-hostabi.StderrTail):]...)
	if over := len(l.tail) - hostabi.StderrTail; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		l.pending = append(l.pending, line[:min(len(line), hostabi.MaxLog-len(l.pending))]...)
		if whole {
			l.flush(host)
		}
		p = rest
	}
}

// flush logs what stands without a newline.
func (l *lines) flush(host hostabi.Host) {
	if len(l.pending) > 0 {
		host.Log(l.level, l.pending)
	}
	l.pending = l.pending[:0]
}
