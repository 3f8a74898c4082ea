package runtime

import "fmt"

// DeviceFault is what befell the device of a session.
type DeviceFault uint8

const (
	// DeviceLost: the device's context is corrupt (illegal address, failed launch, uncorrectable ECC error ...).
	// Every session on the device is unusable for the rest of the process.
	DeviceLost DeviceFault = iota + 1
	// DeviceHung: a run did not end in time. It may still write into its own tensors, so nobody may reuse them.
	DeviceHung
	// DeviceMemory: the run did not fit into the device's memory; others may.
	DeviceMemory
)

func (f DeviceFault) String() string {
	switch f {
	case DeviceLost:
		return "lost"
	case DeviceHung:
		return "hung"
	case DeviceMemory:
		return "out of memory"
	}
	return fmt.Sprintf("fault(%d)", uint8(f))
}

// DeviceError says that a run failed for a fault of the device and not of its inputs.
type DeviceError struct {
	Fault DeviceFault
	Cause error
}

func (e *DeviceError) Error() string { return fmt.Sprintf("the device is %s: %v", e.Fault, e.Cause) }

func (e *DeviceError) Unwrap() error { return e.Cause }

// Gone says whether no run on the device can be trusted any more.
func (e *DeviceError) Gone() bool { return e.Fault != DeviceMemory }
