//! Change streams in, durable disks and recovery points out; knows nothing of hosts.
