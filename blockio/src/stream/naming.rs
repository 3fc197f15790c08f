//! Naming the volume of a stream that does not name it: for applying or converting it. Pure.

use crate::plain::Plain;
use crate::stream::{Name, StreamHeader};
use crate::{Error, ErrorKind, Result};

/// `header` with its only volume named `volume`.
///
/// # Errors
///
/// `Usage`: the stream has several volumes, or gives its own another name.
pub fn called(mut header: StreamHeader, volume: &Name) -> Result<StreamHeader> {
    let count = header.volumes.len();
    let [only] = header.volumes.as_mut_slice() else {
        let context = format!(
            "naming the volume of a stream \"{}\": the stream has {count} volumes",
            Plain(volume)
        );
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint("the stream names them itself: leave the name out"));
    };
    match &only.name {
        Some(own) if !own.as_bytes().is_empty() && own != volume => {
            let context = format!(
                "naming the volume of a stream \"{}\": the stream calls it \"{}\"",
                Plain(volume),
                Plain(own)
            );
            Err(Error::new(ErrorKind::Usage, context)
                .with_hint("leave the name out, or check which stream was meant"))
        }
        Some(_) | None => {
            only.name = Some(volume.clone());
            Ok(header)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Format, VolumeHeader};

    fn header(names: &[Option<&str>]) -> StreamHeader {
        let name = |name: &Option<&str>| name.map(|name| Name::new(name.as_bytes()).unwrap());
        let volumes = names.iter().map(|one| VolumeHeader {
            name: name(one),
            size: None,
            from: None,
            to: None,
        });
        let (format, identity) = (Format::RbdDiff, None);
        StreamHeader { format, is_in_write_order: false, identity, volumes: volumes.collect() }
    }

    #[test]
    fn only_the_volume_of_a_stream_that_does_not_name_it_otherwise_is_called_so() {
        let db = Name::new(b"db").unwrap();
        for own in [None, Some(""), Some("db")] {
            let named = called(header(&[own]), &db).unwrap();
            assert_eq!(named.volumes[0].name, Some(db.clone()), "{own:?}");
        }
        for other in [&[Some("log")][..], &[Some("db"), Some("log")], &[None, None]] {
            let refused = called(header(other), &db).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Usage, "{other:?}");
        }
    }
}
