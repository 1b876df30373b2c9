package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"
)

// shell plays lvm's shell for a program that has set LVM_COMMAND_PROFILE=lvmdbusd: each
// command on stdin is one of lvm's, and is answered on the descriptor LVM_REPORT_FD by
// one JSON document with its report, if it makes one, and its status. lastlog has what
// the command before it wrote to stderr.
func shell() {
	descriptor, err := strconv.Atoi(os.Getenv("LVM_REPORT_FD"))
	if err != nil {
		os.Exit(3)
	}
	for _, name := range []string{"LVM_COMMAND_PROFILE", "LVM_REPORT_FD"} {
		_ = os.Unsetenv(name) // they are not for the real lvm
	}
	answers := json.NewEncoder(os.NewFile(uintptr(descriptor), "answers"))
	code, messages := 0, ""
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		args := strings.Fields(lines.Text())
		log := []map[string]string{}
		var out, stderr bytes.Buffer
		switch args[0] {
		case "version": // no command of the agent's: the countdown passes it over
			code = 0
		case "lastlog":
			log = append(log, map[string]string{"log_type": "error", "log_context": "processing", "log_message": messages})
		default:
			code = counted(streams{&out, &stderr}, "lvm", args)
			messages = stderr.String()
		}
		said := code
		if code == 0 {
			said = 1 // ECMD_PROCESSED
		}
		log = append(log, map[string]string{"log_type": "status", "log_context": "shell", "log_object_name": args[0], "log_ret_code": strconv.Itoa(said)})
		doc := map[string]any{}
		if args[0] == "fullreport" && code == 0 {
			err = json.Unmarshal(out.Bytes(), &doc)
		}
		doc["log"] = log
		if err != nil || answers.Encode(doc) != nil {
			os.Exit(5)
		}
	}
}
