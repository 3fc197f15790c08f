//! Builds test VMs and boots them in QEMU; nothing here ships in the product.

pub mod kernel;
