//! The licence check: every dependency can be used under a licence from our list, and comes from
//! the registry. Works on `cargo metadata`, offline.

use serde_json::Value;
use spdx::{Expression, ParseMode};

use crate::Offence;

/// The licences under which we accept dependencies, and why each is compatible with Apache-2.0.
const ACCEPTED: [(&str, &str); 6] = [
    ("Apache-2.0", "our own"),
    ("ISC", "permissive: MIT in fewer words"),
    ("BSD-2-Clause", "permissive: asks for its notice only"),
    ("BSD-3-Clause", "permissive: its notice, and no use of names"),
    ("MIT", "permissive: asks for its notice only"),
    ("Unicode-3.0", "permissive: data tables of the Unicode Consortium"),
];

/// The packages in `metadata` (the JSON of `cargo metadata`) that may not be used.
pub(crate) fn offences(metadata: &Value) -> Vec<Offence> {
    let Some(packages) = metadata["packages"].as_array() else {
        return vec![Offence::new("cargo metadata", "no list of packages")];
    };
    packages
        .iter()
        .filter_map(|package| {
            let name = package["name"].as_str().unwrap_or("?");
            let version = package["version"].as_str().unwrap_or("?");
            offence(package).map(|message| Offence::new(format!("{name} {version}"), message))
        })
        .collect()
}

fn offence(package: &Value) -> Option<String> {
    // Packages of the workspace have no source.
    if let Some(source) = package["source"].as_str() {
        if !source.starts_with("registry+") {
            return Some(format!("comes from {source}, and not from the registry"));
        }
    }
    let Some(licence) = package["license"].as_str() else {
        return Some("names no licence".to_owned());
    };
    // Lax, because old packages write MIT/Apache-2.0.
    let Ok(expression) = Expression::parse_mode(licence, ParseMode::LAX) else {
        return Some(format!("{licence:?} is no licence expression"));
    };
    let accepted = expression.evaluate(|requirement| {
        let name = requirement.to_string();
        ACCEPTED.iter().any(|(accepted, _)| *accepted == name)
    });
    (!accepted).then(|| format!("{licence} is not satisfied by what we accept"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::offences;

    fn verdict(licence: &str) -> Option<String> {
        let package = json!({"name": "a", "version": "1.0.0", "license": licence});
        let found = offences(&json!({"packages": [package]}));
        assert!(found.iter().all(|offence| offence.place == "a 1.0.0"));
        found.into_iter().next().map(|offence| offence.message)
    }

    #[test]
    fn expressions_are_judged_by_what_satisfies_them() {
        for good in ["MIT", "GPL-2.0-only OR MIT", "MIT/Apache-2.0", "MIT AND Unicode-3.0"] {
            assert_eq!(verdict(good), None, "{good}");
        }
        let bad = [
            "GPL-3.0-or-later",
            "MIT AND GPL-2.0-only",
            "(MIT OR Apache-2.0) AND MPL-2.0",
            "Apache-2.0 WITH LLVM-exception",
            "",
            "my own",
        ];
        for bad in bad {
            assert!(verdict(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_package_without_a_licence_or_from_elsewhere_is_refused() {
        let silent = json!({"packages": [{"name": "a", "version": "1", "license": null}]});
        assert_eq!(offences(&silent)[0].message, "names no licence");
        let package = json!({
            "name": "a", "version": "1", "license": "MIT", "source": "git+ssh://host/a",
        });
        assert_eq!(offences(&json!({"packages": [package]})).len(), 1);
        assert_eq!(offences(&json!({})).len(), 1, "an empty answer must not pass");
    }
}
