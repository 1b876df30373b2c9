package testbed

import (
	"fmt"
	"net"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/berth-dev/berth/test/pki"
)

// identity is who a client certificate speaks for (user and groups of Kubernetes).
type identity struct {
	file, user, group string
}

func (b *Bed) makePKI(c Config) error {
	// The key of the authority also signs service account tokens.
	ca, err := pki.New(b.path("pki"), "berth test bed")
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	server := pki.Server("kube-apiserver", net.ParseIP(controlAddress), net.ParseIP(serviceAddress), net.IPv4(127, 0, 0, 1))
	server.DNSNames = []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"}
	if _, _, err := ca.Issue("apiserver", server); err != nil {
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
		if err := b.writeKubeconfig(ca, id); err != nil {
			return fmt.Errorf("make certificate of %s: %w", id.user, err)
		}
	}
	return nil
}

func (b *Bed) writeKubeconfig(ca *pki.Authority, id identity) error {
	var groups []string
	if id.group != "" {
		groups = []string{id.group}
	}
	cert, key, err := ca.Issue(id.file, pki.Client(id.user, groups...))
	if err != nil {
		return err
	}
	const name = "bed"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: "https://" + controlAddress, CertificateAuthorityData: ca.PEM}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return clientcmd.WriteToFile(*config, filepath.Join(b.path("pki"), id.file+".kubeconfig"))
}
