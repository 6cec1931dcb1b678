package edge_test

import (
	"crypto/tls"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay/wire"
)

type tlsCertificate = tls.Certificate

type messageBody struct{ payload string }

func (m *messageBody) MarshalBinary() ([]byte, error) {
	return proto.Marshal(&wire.Message{Payload: []byte(m.payload)})
}
