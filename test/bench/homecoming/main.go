package main

import (
	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/test/program"
)

func main() {
	klog.SetLogger(logr.Discard())
	program.Main(newCommand())
}
