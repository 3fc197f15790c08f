//! From a new connection to a chosen export: options and their replies, one by one. Parsing options
//! is up to `protocol`, and what follows is up to `connection`.

use crate::nbd::export::{self, Export};
use crate::nbd::protocol::Breach;
use crate::nbd::protocol::option::{
    self, ClientFlags, Code, ContextRequest, Header, InfoRequest, OPTION_DATA_BYTES_MAX,
    OPTION_HEADER_BYTES, Reply,
};
use crate::nbd::wire::{Ended, Wire};

/// What a client and this server agreed on.
pub(crate) struct Agreed<'a> {
    /// The export.
    pub export: &'a Export,
    /// Whether replies are structured.
    pub is_structured: bool,
    /// Whether the client may query zeros.
    pub has_allocation: bool,
}

/// What was agreed so far.
struct Handshake<'wire, 'socket, 'exports> {
    wire: &'wire mut Wire<'socket>,
    exports: &'exports [Export],
    client: ClientFlags,
    is_structured: bool,
    /// The name of the export that `base:allocation` was selected for, as given by the client.
    allocation_of: Option<String>,
}

/// Negotiates with a new client until it has chosen an export.
pub(crate) fn run<'exports>(
    wire: &mut Wire<'_>,
    exports: &'exports [Export],
) -> Result<Agreed<'exports>, Ended> {
    wire.send(&option::greeting())?;
    let mut flags = [0; 4];
    wire.receive_next(&mut flags)?;
    let client = ClientFlags::parse(flags)?;
    let mut handshake =
        Handshake { wire, exports, client, is_structured: false, allocation_of: None };
    loop {
        let mut header = [0; OPTION_HEADER_BYTES];
        handshake.wire.receive_next(&mut header)?;
        let header = Header::parse(&header)?;
        if let Some(agreed) = handshake.answer(header)? {
            handshake.wire.handshake_is_over();
            return Ok(agreed);
        }
    }
}

impl<'exports> Handshake<'_, '_, 'exports> {
    fn answer(&mut self, header: Header) -> Result<Option<Agreed<'exports>>, Ended> {
        let Some(data) = self.data(header)? else { return Ok(None) };
        match header.code() {
            Code::ExportName => return self.export_name(&data).map(Some),
            Code::Abort => {
                // The client may be gone already: it need not wait for the reply.
                let _ = self.wire.send(&option::reply(header, Reply::Acknowledged, &[]));
                return Err(Ended::Done);
            }
            Code::Go => return self.info(header, &data),
            Code::Info => {
                // The same reply; nothing is chosen.
                self.info(header, &data)?;
            }
            Code::List => self.list(header, &data)?,
            Code::StructuredReply => self.structured_reply(header, &data)?,
            Code::ListMetaContext | Code::SetMetaContext => self.meta_context(header, &data)?,
            Code::Unknown => self.say(header, Reply::Unsupported, "unknown option")?,
        }
        Ok(None)
    }

    /// The data of an option; `None` if it is so long that the option was refused.
    fn data(&mut self, header: Header) -> Result<Option<Vec<u8>>, Ended> {
        if header.length <= OPTION_DATA_BYTES_MAX {
            let mut data = vec![0; header.length as usize];
            self.wire.receive(&mut data)?;
            return Ok(Some(data));
        }
        self.wire.skip(header.length)?;
        if header.code() == Code::ExportName {
            return Err(Breach::NoSuchExport.into());
        }
        self.say(header, Reply::TooBig, "this option has too much data")?;
        Ok(None)
    }

    fn say(&mut self, header: Header, reply: Reply, message: &str) -> Result<(), Ended> {
        self.wire.send(&option::reply(header, reply, message.as_bytes()))
    }

    fn export_name(&mut self, name: &[u8]) -> Result<Agreed<'exports>, Ended> {
        let name = std::str::from_utf8(name).map_err(|_| Breach::NoSuchExport)?;
        let export = export::find(self.exports, name).ok_or(Breach::NoSuchExport)?;
        let flags = export.transmission_flags(self.is_structured);
        self.wire.send(&option::export_name_reply(self.client, export.capacity(), flags))?;
        Ok(self.agreed(export, name))
    }

    /// Describes an export; returns what would be agreed on if it were chosen now.
    fn info(&mut self, header: Header, data: &[u8]) -> Result<Option<Agreed<'exports>>, Ended> {
        let Some(request) = InfoRequest::parse(data) else {
            self.say(header, Reply::Invalid, "the data of this option is invalid")?;
            return Ok(None);
        };
        let Some(export) = export::find(self.exports, request.name) else {
            self.say(header, Reply::UnknownExport, "no export has this name")?;
            return Ok(None);
        };
        let name = request.wants_name.then_some(export.name.as_str());
        let flags = export.transmission_flags(self.is_structured);
        self.wire.send(&option::info_replies(header, name, export.capacity(), flags))?;
        Ok(Some(self.agreed(export, request.name)))
    }

    fn agreed(&self, export: &'exports Export, name: &str) -> Agreed<'exports> {
        let has_allocation = self.allocation_of.as_deref() == Some(name);
        Agreed { export, is_structured: self.is_structured, has_allocation }
    }

    fn list(&mut self, header: Header, data: &[u8]) -> Result<(), Ended> {
        if !data.is_empty() {
            return self.say(header, Reply::Invalid, "this option takes no data");
        }
        for export in self.exports {
            self.wire.send(&option::server_reply(header, &export.name))?;
        }
        self.say(header, Reply::Acknowledged, "")
    }

    fn structured_reply(&mut self, header: Header, data: &[u8]) -> Result<(), Ended> {
        if !data.is_empty() {
            return self.say(header, Reply::Invalid, "this option takes no data");
        }
        self.is_structured = true;
        self.say(header, Reply::Acknowledged, "")
    }

    fn meta_context(&mut self, header: Header, data: &[u8]) -> Result<(), Ended> {
        let is_choice = header.code() == Code::SetMetaContext;
        if is_choice {
            // Whatever the result is, an earlier selection is no longer valid.
            self.allocation_of = None;
        }
        if !self.is_structured {
            return self.say(header, Reply::Invalid, "negotiate structured replies first");
        }
        let Some(request) = ContextRequest::parse(data) else {
            return self.say(header, Reply::Invalid, "the data of this option is invalid");
        };
        if export::find(self.exports, request.name).is_none() {
            return self.say(header, Reply::UnknownExport, "no export has this name");
        }
        let applies =
            if is_choice { request.chooses_allocation() } else { request.lists_allocation() };
        if applies {
            self.wire.send(&option::allocation_reply(header))?;
        }
        if is_choice && applies {
            self.allocation_of = Some(request.name.to_owned());
        }
        self.say(header, Reply::Acknowledged, "")
    }
}
