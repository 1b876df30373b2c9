#!/bin/sh
# Process 1 of a test bed node, inside its own User-Mode Linux kernel.
#
# The root file system is a directory of the host shared by all nodes, so it is
# treated as read-only: whatever a node changes goes to tmpfs (gone with the
# power, as on a diskless machine) or to the node's own disks:
#   /dev/ubda   state: containerd, kubelet, LVM archive
#   /dev/ubdb…  physical volumes of the node's volume group
# Kernel command line: berth.node, berth.index, berth.bed (the host directory of
# the test bed, mounted at /run/bed), berth.vg (empty: make no volume group),
# berth.modules (the host directory of the kernel's modules).
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for word in $(cat /proc/cmdline); do
	case $word in
	berth.node=*) node=${word#*=} ;;
	berth.index=*) index=${word#*=} ;;
	berth.bed=*) bed=${word#*=} ;;
	berth.vg=*) vg=${word#*=} ;;
	berth.modules=*) modules=${word#*=} ;;
	esac
done

mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
for dir in /run /tmp /var/log /root /opt /mnt; do mount -t tmpfs tmpfs "$dir"; done
mkdir -p /run/etc /run/lock/lvm /run/lvm
cp -a /etc/. /run/etc/
mount --bind /run/etc /etc
mkdir -p /run/bed && mount -t hostfs -o "$bed" hostfs /run/bed
mount -t hostfs -o "$modules,ro" hostfs /lib/modules

# /var/lib lives on the state disk; the disk is formatted once, when it is new
# and holds nothing at all.
modprobe -a dm-mod dm-thin-pool dm-snapshot dm-raid overlay bridge veth 2>/dev/null
if ! mount /dev/ubda /var/lib 2>/dev/null; then
	blkid -p /dev/ubda >/dev/null 2>&1
	[ $? -eq 2 ] || { echo "init: state disk holds something that does not mount" >&2; exec sh; }
	mke2fs -q -t ext4 -O ^metadata_csum /dev/ubda && mount /dev/ubda /var/lib
fi
mkdir -p /var/lib/lvm/archive /var/lib/lvm/backup /var/lib/containerd /var/lib/kubelet /var/lib/cni
# Containers' networks end with the power. What CNI remembers of those made just
# before may be torn, and their pods could neither be ended nor started then.
mount -t tmpfs tmpfs /var/lib/cni
mount --make-rshared /

mkdir -p /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/init && echo 1 >/sys/fs/cgroup/init/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
	echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
done

# cadvisor refuses a /proc/cpuinfo without a clock rate.
{ cat /proc/cpuinfo; echo "cpu MHz		: 2000.000"; } >/run/cpuinfo
mount --bind /run/cpuinfo /proc/cpuinfo

hostname "$node"
echo "$node" >/etc/hostname
printf '127.0.0.1 localhost\n10.77.0.1%s %s\n' "$index" "$node" >/etc/hosts
printf '%032d\n' "$index" >/etc/machine-id
echo 'nameserver 10.77.0.1' >/etc/resolv.conf
sysctl -qw net.ipv4.ip_forward=1 vm.overcommit_memory=1 kernel.panic=1 fs.inotify.max_user_instances=8192

ip link set lo up
ip addr add "10.77.0.1$index/24" dev vec0 && ip link set vec0 up
ip addr add "10.77.1.1$index/24" dev vec1 && ip link set vec1 up
ip route add default via 10.77.0.1
for other in 1 2 3 4 5 6 7 8 9; do
	[ "$other" = "$index" ] || ip route add "10.77.$((16 + other)).0/24" via "10.77.0.1$other"
done

cat >/etc/lvm/lvm.conf <<CONF
devices { obtain_device_list_from_udev=0 external_device_info_source="none" use_devicesfile=0 filter=["a|/dev/ubd[b-z]\$|","r|.*|"] }
activation { udev_sync=0 udev_rules=0 monitoring=0 }
global { use_lvmpolld=0 locking_dir="/run/lock/lvm" }
log { verbose=0 syslog=0 }
CONF
# The archive of old metadata outlives a power cut where lvm looks for it.
for dir in archive backup; do
	mkdir -p "/etc/lvm/$dir" && mount --bind "/var/lib/lvm/$dir" "/etc/lvm/$dir"
done
if [ -n "$vg" ]; then
	disks=$(ls /dev/ubd[b-z] 2>/dev/null)
	empty=1
	for disk in $disks; do
		blkid -p "$disk" >/dev/null 2>&1
		[ $? -eq 2 ] || empty=0
	done
	[ $empty -eq 1 ] && vgcreate -q -y "$vg" $disks
fi

/run/bed/bin/testbed guest-agent --listen "10.77.1.1$index:22" >/var/log/guest-agent.log 2>&1 &

mkdir -p /etc/containerd /etc/cni/net.d /opt/cni
ln -s /usr/lib/cni /opt/cni/bin
cp /run/bed/guest/containerd.toml /etc/containerd/config.toml
sed "s/@SUBNET@/10.77.$((16 + index)).0\/24/" /run/bed/guest/cni.conflist >/etc/cni/net.d/10-berth.conflist
sed "s/@NODE@/$node/" /run/bed/guest/kubelet.yaml >/etc/kubelet.yaml

keep() { # keep NAME COMMAND…: start again whatever ends
	name=$1
	shift
	while :; do
		"$@" >>"/var/log/$name.log" 2>&1
		echo "$name ended with $?" >>"/var/log/$name.log"
		sleep 1
	done
}
# A page fault costs a User-Mode Linux guest far more than a machine: collect
# garbage late, and look after containers seldom.
export GOGC=off GOMEMLIMIT=256MiB
keep containerd containerd &
until [ -S /run/containerd/containerd.sock ]; do sleep 0.2; done
keep kubelet /run/bed/bin/kubelet --config=/etc/kubelet.yaml \
	--kubeconfig="/run/bed/pki/$node.kubeconfig" --hostname-override="$node" \
	--node-ip="10.77.0.1$index" --housekeeping-interval=60s --v=2 &
while :; do wait; sleep 1; done
