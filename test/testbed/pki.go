package testbed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// authority signs the certificates of one bed. It is kept nowhere but in the
// bed's pki directory, which Down removes.
type authority struct {
	dir  string
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

// identity is who a client certificate speaks for (user and groups of Kubernetes).
type identity struct {
	file, user, group string
}

func (b *Bed) makePKI(c Config) error {
	ca, err := newAuthority(b.path("pki"))
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	server := x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"},
		IPAddresses: []net.IP{net.ParseIP(controlAddress), net.ParseIP(serviceAddress), net.IPv4(127, 0, 0, 1)},
	}
	if _, _, err := ca.issue("apiserver", server); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	identities := []identity{
		{"admin", "admin", "system:masters"},
		{"kubelet-client", "kube-apiserver", "system:masters"},
		{"controller-manager", "system:kube-controller-manager", ""},
		{"scheduler", "system:kube-scheduler", ""},
	}
	for _, name := range c.NodeNames() {
		identities = append(identities, identity{name, "system:node:" + name, "system:nodes"})
	}
	for _, id := range identities {
		if err := ca.kubeconfig(id); err != nil {
			return fmt.Errorf("make certificate of %s: %w", id.user, err)
		}
	}
	return nil
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "berth test bed"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(0, 0, 30),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	ca := &authority{dir: dir, cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	// The key of the authority also signs service account tokens.
	if _, err := ca.write("ca", ca.pem, key); err != nil {
		return nil, err
	}
	return ca, nil
}

func (a *authority) write(name string, cert []byte, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(a.dir, name+".crt"), cert, 0o644); err != nil {
		return nil, err
	}
	return keyPEM, os.WriteFile(filepath.Join(a.dir, name+".key"), keyPEM, 0o600)
}

func (a *authority) issue(name string, template x509.Certificate) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, nil, err
	}
	template.NotBefore, template.NotAfter = a.cert.NotBefore, a.cert.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, &template, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key, err = a.write(name, cert, private)
	return cert, key, err
}

func (a *authority) kubeconfig(id identity) error {
	template := x509.Certificate{
		Subject:     pkix.Name{CommonName: id.user},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if id.group != "" {
		template.Subject.Organization = []string{id.group}
	}
	cert, key, err := a.issue(id.file, template)
	if err != nil {
		return err
	}
	const name = "bed"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: "https://" + controlAddress, CertificateAuthorityData: a.pem}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return clientcmd.WriteToFile(*config, filepath.Join(a.dir, id.file+".kubeconfig"))
}
