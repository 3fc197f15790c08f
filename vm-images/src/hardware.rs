//! The hardware of a machine: controllers, and disks on them, as QEMU options. Only this module
//! knows which options make a disk look like VMware's.

use std::path::{Path, PathBuf};

/// A host bus adapter, or virtio-blk, where each disk has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// VMware's paravirtual SCSI.
    Pvscsi,
    /// virtio-scsi.
    VirtioScsi,
    /// LSI 53c895a, parallel SCSI.
    Lsi,
    /// LSI SAS 1068.
    Sas,
    /// virtio-blk, without SCSI.
    VirtioBlk,
}

impl Controller {
    fn device(self) -> Option<&'static str> {
        match self {
            Self::Pvscsi => Some("pvscsi"),
            Self::VirtioScsi => Some("virtio-scsi-pci"),
            Self::Lsi => Some("lsi53c895a"),
            Self::Sas => Some("mptsas1068"),
            Self::VirtioBlk => None,
        }
    }
}

/// Where the contents of a disk are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A raw file, through the host's cache.
    Raw(PathBuf),
    /// A qcow2 file.
    Qcow2(PathBuf),
    /// A server on a Unix socket: [`crate::servers::VolatileDisk`].
    Nbd(PathBuf),
    /// A logical unit of [`crate::servers::ScsiTarget`], which answers SCSI commands itself.
    Iscsi {
        /// Address and port.
        portal: String,
        /// Number of the unit.
        lun: u32,
    },
}

/// The identity that a disk reports. An iSCSI unit reports its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// None, like VMware's disk with disk.EnableUUID off.
    None,
    /// A serial number.
    Serial(String),
    /// A world-wide name of 64 bits and a serial number.
    Wwn(u64, String),
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its name in QEMU, which is needed to remove it.
    pub name: String,
    /// The index of its controller in [`Hardware::controllers`].
    pub controller: usize,
    /// Its target number on the controller.
    pub slot: u8,
    /// Where its contents are.
    pub backing: Backing,
    /// Its identity.
    pub identity: Identity,
    /// 512 or 4096.
    pub sector_bytes: u16,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Its host bus adapters.
    pub controllers: Vec<Controller>,
    /// Its disks; more may be attached while it runs.
    pub disks: Vec<Disk>,
    /// Whether the machine claims to be VMware's.
    pub is_vmware: bool,
}

impl Default for Hardware {
    fn default() -> Self {
        let memory_mib = 1024;
        Self { memory_mib, controllers: vec![Controller::Pvscsi], disks: vec![], is_vmware: true }
    }
}

impl Hardware {
    /// Adds a raw disk called `name`, without an identity, to the first controller.
    pub fn disk(mut self, name: &str, file: &Path) -> Self {
        let slot = self.disks.iter().filter(|disk| disk.controller == 0).count() as u8;
        self.disks.push(Disk {
            name: name.to_owned(),
            controller: 0,
            slot,
            backing: Backing::Raw(file.to_owned()),
            identity: Identity::None,
            sector_bytes: 512,
        });
        self
    }

    /// Adds a raw disk to the first controller, with its name as the serial number.
    pub fn known_disk(self, name: &str, file: &Path) -> Self {
        self.disk(name, file).with(|disk| disk.identity = Identity::Serial(name.to_owned()))
    }

    /// Changes the disk that was added last.
    ///
    /// # Panics
    ///
    /// If there is none, which is a bug in the case.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Disk)) -> Self {
        change(self.disks.last_mut().expect("a case may change only the disk that it added"));
        self
    }

    /// QEMU's options for the machine.
    pub fn arguments(&self) -> Vec<String> {
        let mut all = vec!["-m".to_owned(), self.memory_mib.to_string()];
        if self.is_vmware {
            let id = "type=1,manufacturer=VMware_ Inc.,product=VMware Virtual Platform,\
                      serial=VMware-56 4d 00 00 11 11 22 22-33 33 44 44 55 55 66 66";
            all.extend(["-smbios".to_owned(), id.to_owned()]);
            all.extend(["-uuid".to_owned(), "564d0000-1111-2222-3333-444455556666".to_owned()]);
        }
        for (number, controller) in self.controllers.iter().enumerate() {
            if let Some(device) = controller.device() {
                all.extend(["-device".to_owned(), format!("{device},id=hba{number}")]);
            }
        }
        for disk in &self.disks {
            all.extend(["-blockdev".to_owned(), disk.node()]);
            all.extend(["-device".to_owned(), disk.device(&self.controllers)]);
        }
        all
    }
}

impl Disk {
    /// The option for its backing; the node has the name of the disk.
    fn node(&self) -> String {
        let name = &self.name;
        match &self.backing {
            Backing::Raw(file) => format!(
                "driver=raw,node-name={name},discard=unmap,file.driver=file,file.filename={}",
                file.display()
            ),
            Backing::Qcow2(file) => format!(
                "driver=qcow2,node-name={name},discard=unmap,file.driver=file,file.filename={}",
                file.display()
            ),
            Backing::Nbd(socket) => format!(
                "driver=nbd,node-name={name},server.type=unix,server.path={}",
                socket.display()
            ),
            Backing::Iscsi { portal, lun } => format!(
                "driver=iscsi,node-name={name},transport=tcp,portal={portal},target={},lun={lun},\
                 initiator-name=iqn.2026-11.test:{name}",
                crate::servers::TARGET_NAME
            ),
        }
    }

    /// The option for the device that the guest sees.
    fn device(&self, controllers: &[Controller]) -> String {
        let Self { name, controller, slot, sector_bytes, .. } = self;
        let mut text = match (&self.backing, controllers[*controller]) {
            (Backing::Iscsi { .. }, _) => "scsi-block,share-rw=on".to_owned(),
            (_, Controller::VirtioBlk) => "virtio-blk-pci".to_owned(),
            (_, _) => "scsi-hd,vendor=VMware,product=Virtual disk,ver=2.0".to_owned(),
        };
        text += &format!(",id={name},drive={name}");
        if controllers[*controller] != Controller::VirtioBlk {
            text += &format!(",bus=hba{controller}.0,scsi-id={slot}");
        }
        if !matches!(self.backing, Backing::Iscsi { .. }) {
            text += &format!(",logical_block_size={sector_bytes}");
            text += &format!(",physical_block_size={sector_bytes}");
        }
        match &self.identity {
            Identity::None => {}
            Identity::Serial(serial) => text += &format!(",serial={serial}"),
            Identity::Wwn(wwn, serial) => text += &format!(",serial={serial},wwn={wwn:#x}"),
        }
        text
    }

    /// What [`crate::monitor::Monitor`] needs to attach it to a running machine: the arguments of
    /// `blockdev-add` and of `device_add`, in the form of QEMU's options.
    pub fn options(&self, controllers: &[Controller]) -> (String, String) {
        (self.node(), self.device(controllers))
    }
}

/// A UUID for the disk `name` in VMware's style: 32 digits.
pub fn vmware_uuid(name: &str) -> String {
    let digits = blake3::hash(name.as_bytes()).to_hex();
    format!("6000c29{}", &digits[..25])
}
