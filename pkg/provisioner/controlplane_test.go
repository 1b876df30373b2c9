//go:build controlplane

package provisioner

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/lvm/lvmtest"
	"github.com/berth-dev/berth/pkg/volume"
)

// This test runs the agent, with disks in memory and with the rights that the
// manifests give it, against a real API server and the real PV controller. It
// wants their binaries (etcd, kube-apiserver, kube-controller-manager, kubectl)
// in the directory BERTH_BIN:
//
//	BERTH_BIN=$PWD/_out/bin go test -tags controlplane -run ControlPlane ./pkg/provisioner

type controlPlane struct {
	t      *testing.T
	bin    string
	dir    string
	config *rest.Config
	client kubernetes.Interface
}

const adminToken = "admin-of-the-test"

// startControlPlane starts one with an empty memory, and applies the manifests.
func startControlPlane(t *testing.T) (cp *controlPlane, stop func()) {
	t.Helper()
	cp = &controlPlane{t: t, bin: os.Getenv("BERTH_BIN"), dir: t.TempDir()}
	etcd, peer, api := freePort(t), freePort(t), freePort(t)
	cp.key("sa.key")
	cp.write("tokens.csv", adminToken+`,admin,admin,"system:masters"`+"\n")
	cp.config = &rest.Config{
		Host: "https://127.0.0.1:" + api, BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 100, Burst: 200,
	}
	kubeconfig := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: cp.config.Host, InsecureSkipTLSVerify: true}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: adminToken}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}
	if err := clientcmd.WriteToFile(kubeconfig, cp.path("kubeconfig")); err != nil {
		t.Fatal(err)
	}
	stops := []func(){
		cp.run("etcd", "--data-dir="+cp.path("etcd"), "--unsafe-no-fsync",
			"--listen-client-urls=http://127.0.0.1:"+etcd, "--advertise-client-urls=http://127.0.0.1:"+etcd,
			"--listen-peer-urls=http://127.0.0.1:"+peer),
		cp.run("kube-apiserver", "--etcd-servers=http://127.0.0.1:"+etcd, "--bind-address=127.0.0.1", "--secure-port="+api,
			"--cert-dir="+cp.path("certs"), "--allow-privileged", "--authorization-mode=RBAC", "--token-auth-file="+cp.path("tokens.csv"),
			"--service-account-issuer=https://berth.test", "--service-account-key-file="+cp.path("sa.key"),
			"--service-account-signing-key-file="+cp.path("sa.key"), "--service-cluster-ip-range=10.0.0.0/24",
			"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition"),
	}
	var err error
	if cp.client, err = kubernetes.NewForConfig(cp.config); err != nil {
		t.Fatal(err)
	}
	cp.until("API server ready", func(ctx context.Context) bool {
		_, err := cp.client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		return err == nil
	})
	stops = append(stops, cp.run("kube-controller-manager", "--kubeconfig="+cp.path("kubeconfig"), "--leader-elect=false", "--secure-port=0",
		"--pvclaimbinder-sync-period=1s", "--controllers=persistentvolume-binder-controller,persistentvolumeclaim-protection-controller,persistentvolume-protection-controller"))
	for _, name := range []string{"namespace.yaml", "storageclass.yaml", "provisioner.yaml"} {
		cp.kubectl("apply", "-f", "../../manifests/base/"+name)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	if _, err := cp.client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return cp, func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
}

// agent runs an agent as the service account of the manifests.
func (cp *controlPlane) agent(disk *lvmtest.Disk, links Links) (stop func()) {
	cp.t.Helper()
	config := rest.CopyConfig(cp.config)
	config.Impersonate.UserName = "system:serviceaccount:" + volume.SystemNamespace + ":lvm-provisioner"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		cp.t.Fatal(err)
	}
	_, ctx := ktesting.NewTestContext(cp.t)
	ctx, cancel := context.WithCancel(ctx)
	service, err := New(ctx, Config{
		Node: nodeName, Interval: time.Second, Links: links, Client: client, Runner: disk,
		Metrics: NewMetrics(prometheus.NewRegistry()), Clock: clock.RealClock{},
	})
	if err != nil {
		cp.t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- service.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			cp.t.Error(err)
		}
	}
}

func TestControlPlane(t *testing.T) {
	disk, links := lvmtest.NewDisk(64, "berth"), Links{Dir: filepath.Join(t.TempDir(), "links")}
	cp, stop := startControlPlane(t)
	stopAgent := cp.agent(disk, links)

	cp.claim("data-galera-0", "berth", true)
	first := cp.bound("data-galera-0")
	cp.until("capacity without the volume", func(ctx context.Context) bool {
		all, err := cp.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(ctx, metav1.ListOptions{})
		return err == nil && len(all.Items) == 1 && all.Items[0].Capacity.Value() == 61*lvmtest.ExtentSize
	})
	lv := disk.Volumes()[0]
	lv.Data = true

	// The claim is deleted and made again, and no scheduler selects a node: the
	// reservation alone brings it home.
	cp.delete("data-galera-0")
	cp.until("PV reserved again", func(ctx context.Context) bool {
		pv, err := cp.client.CoreV1().PersistentVolumes().Get(ctx, first, metav1.GetOptions{})
		return err == nil && pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.UID == "" && pv.Status.Phase == corev1.VolumeAvailable
	})
	cp.claim("data-galera-0", "berth", false)
	if again := cp.bound("data-galera-0"); again != first {
		t.Errorf("the claim was bound to %s and is bound to %s", first, again)
	}

	// The claim and its PV are deleted; the claim is made again and its node
	// selected, so PV and Provision race for it.
	cp.delete("data-galera-0")
	cp.kubectl("delete", "pv", first, "--wait=false")
	cp.claim("data-galera-0", "berth", true)
	if again := cp.bound("data-galera-0"); again != first {
		t.Errorf("the claim was bound to %s and is bound to %s", first, again)
	}

	// A class that says nothing of use: the event on the claim names the fix.
	cp.kubectl("create", "-f", cp.write("bad.yaml", "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: bad}\n"+
		"provisioner: "+volume.Provisioner+"\nreclaimPolicy: Retain\nvolumeBindingMode: WaitForFirstConsumer\n"))
	cp.claim("wrong", "bad", true)
	cp.event("wrong", "parameter volumeGroup is missing: name the LVM volume group")
	// A volume group that this node lacks: the event names it, and the node is unselected.
	cp.kubectl("create", "-f", cp.write("fast.yaml", "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: fast}\n"+
		"provisioner: "+volume.Provisioner+"\nreclaimPolicy: Retain\nvolumeBindingMode: WaitForFirstConsumer\nparameters: {volumeGroup: nvme}\n"))
	cp.claim("elsewhere", "fast", true)
	cp.event("elsewhere", `has no volume group "nvme"`)
	cp.event(nodeName, `has no volume group "nvme"`)
	cp.until("node unselected", func(ctx context.Context) bool {
		claim, err := cp.client.CoreV1().PersistentVolumeClaims("default").Get(ctx, "elsewhere", metav1.GetOptions{})
		return err == nil && claim.Annotations[annSelectedNode] == ""
	})

	// Everything is switched off and the API's memory is lost.
	stopAgent()
	stop()
	disk.PowerCycle()
	cp, stop = startControlPlane(t)
	defer stop()
	defer cp.agent(disk, links)()
	cp.until("PV published from tags", func(ctx context.Context) bool {
		pv, err := cp.client.CoreV1().PersistentVolumes().Get(ctx, first, metav1.GetOptions{})
		return err == nil && pv.Status.Phase == corev1.VolumeAvailable
	})
	cp.claim("data-galera-0", "berth", true)
	if again := cp.bound("data-galera-0"); again != first {
		t.Errorf("the claim was bound to %s and is bound to %s", first, again)
	}
	if all := disk.Volumes(); len(all) != 1 || all[0] != lv || lv.Formats != 1 || len(disk.Violations()) != 0 {
		t.Errorf("volumes: %+v, violations: %v", all, disk.Violations())
	}
}

// claim makes a claim; a selected one looks as if the scheduler had chosen the node.
func (cp *controlPlane) claim(name, class string, selected bool) {
	cp.t.Helper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To(class),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Mi")}},
		},
	}
	if selected {
		claim.Annotations = map[string]string{annSelectedNode: nodeName}
	}
	if _, err := cp.client.CoreV1().PersistentVolumeClaims("default").Create(cp.t.Context(), claim, metav1.CreateOptions{}); err != nil {
		cp.t.Fatal(err)
	}
}

func (cp *controlPlane) delete(name string) {
	cp.t.Helper()
	cp.kubectl("delete", "pvc", name)
}

// bound waits for a claim to be bound and returns the name of its PV.
func (cp *controlPlane) bound(name string) (pv string) {
	cp.t.Helper()
	cp.until(name+" bound", func(ctx context.Context) bool {
		claim, err := cp.client.CoreV1().PersistentVolumeClaims("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		pv = claim.Spec.VolumeName
		return claim.Status.Phase == corev1.ClaimBound
	})
	return pv
}

func (cp *controlPlane) event(about, text string) {
	cp.t.Helper()
	cp.until("event on "+about, func(ctx context.Context) bool {
		all, err := cp.client.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("involvedObject.name", about).String()})
		if err != nil {
			return false
		}
		for _, e := range all.Items {
			if strings.Contains(e.Message, text) {
				return true
			}
		}
		return false
	})
}

// until waits for something that several processes bring about together.
func (cp *controlPlane) until(what string, happened func(ctx context.Context) bool) {
	cp.t.Helper()
	ctx, cancel := context.WithTimeout(cp.t.Context(), time.Minute)
	defer cancel()
	started := time.Now()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !happened(ctx) {
		select {
		case <-ctx.Done():
			cp.t.Fatalf("%s: not within a minute", what)
		case <-ticker.C:
		}
	}
	cp.t.Logf("%s: %s", what, time.Since(started).Round(time.Millisecond))
}

func (cp *controlPlane) path(name string) string { return filepath.Join(cp.dir, name) }

func (cp *controlPlane) write(name, content string) string {
	cp.t.Helper()
	if err := os.WriteFile(cp.path(name), []byte(content), 0o600); err != nil {
		cp.t.Fatal(err)
	}
	return cp.path(name)
}

func (cp *controlPlane) key(name string) {
	cp.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		cp.t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		cp.t.Fatal(err)
	}
	cp.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
}

func (cp *controlPlane) kubectl(args ...string) {
	cp.t.Helper()
	cmd := exec.CommandContext(cp.t.Context(), filepath.Join(cp.bin, "kubectl"), append([]string{"--kubeconfig=" + cp.path("kubeconfig")}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		cp.t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// run starts a program of the control plane; its log is kept with the test's
// files. It ends with the test at the latest.
func (cp *controlPlane) run(name string, args ...string) (stop func()) {
	cp.t.Helper()
	log, err := os.Create(cp.path(name + ".log"))
	if err != nil {
		cp.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(cp.bin, name), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = cp.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		cp.t.Fatalf("start %s (is BERTH_BIN the directory of the control plane's binaries?): %v", name, err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = log.Close()
		}
	}
	cp.t.Cleanup(func() {
		stop()
		if cp.t.Failed() {
			tail, _ := exec.Command("tail", "-n", "15", log.Name()).Output()
			cp.t.Logf("%s: %s", name, tail)
		}
	})
	return stop
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}
