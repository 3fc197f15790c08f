//! What the integration tests share: loop devices, recorded hosts, hashes of whole disks.
