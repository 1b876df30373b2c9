package extender

import (
	"context"
	"crypto/tls"
	"fmt"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// Files name the PEM files of the server's identity and of who may call it.
type Files struct {
	Cert, Key, ClientCA string
}

// TLS reads the files, and again whenever they change, until the context ends.
// Each new connection gets the certificate of that moment. When what is newly
// there cannot be used, the last that could stays in use.
//
// A client without a certificate is let in, for probes; Server gives it no
// verdict. A certificate of another authority is not.
func (f Files) TLS(ctx context.Context) (*tls.Config, error) {
	serving, err := dynamiccertificates.NewDynamicServingContentFromFiles("berth-extender", f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate (--tls-cert-file, --tls-private-key-file): %w", err)
	}
	clients, err := dynamiccertificates.NewDynamicCAContentFromFile("berth-extender-clients", f.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority of clients (--client-ca-file): %w", err)
	}
	base := &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.VerifyClientCertIfGiven, NextProtos: []string{"h2", "http/1.1"}}
	controller := dynamiccertificates.NewDynamicServingCertificateController(base, clients, serving, nil, nil)
	serving.AddListener(controller)
	clients.AddListener(controller)
	if err := controller.RunOnce(); err != nil {
		return nil, fmt.Errorf("use the certificates: %w", err)
	}
	go serving.Run(ctx, 1)
	go clients.Run(ctx, 1)
	go controller.Run(1, ctx.Done())
	config := base.Clone()
	config.GetConfigForClient = controller.GetConfigForClient
	return config, nil
}
