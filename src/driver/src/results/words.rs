//! The words of the model's fixed choices on disk, and other values that are
//! written in a form of their own. Pure.
//!
//! The compiler holds the words against the model: a variant that is missing
//! here does not compile.

use kregress_wire::Value;
use serde::{Deserialize, Serialize};

use crate::console::FindingKind;
use crate::model::{
    Accel, AccelChoice, Backend, BootFault, EvidenceSource, Failure, FailureKind, Overall, RootFs,
    SubtestVerdict, Trouble, TroubleKind, Verdict,
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Accel", rename_all = "kebab-case")]
pub(super) enum AccelWord {
    Kvm,
    Tcg,
    Icount,
    Native,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Backend", rename_all = "kebab-case")]
pub(super) enum BackendWord {
    Qemu,
    VirtmeNg,
    Local,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RootFs", rename_all = "kebab-case")]
pub(super) enum RootFsWord {
    Auto,
    #[serde(rename = "9p")]
    NineP,
    Virtiofs,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FindingKind", rename_all = "kebab-case")]
pub(super) enum FindingKindWord {
    Panic,
    Oops,
    Bug,
    Warning,
    Lockdep,
    Sanitizer,
    Hang,
    Leak,
    Memory,
    Reboot,
    Blind,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FailureKind", rename_all = "kebab-case")]
pub(super) enum FailureKindWord {
    Assertion,
    Finding,
    Panic,
    Oops,
    Hang,
    Timeout,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "EvidenceSource", rename_all = "kebab-case")]
pub(super) enum EvidenceSourceWord {
    Agent,
    Registers,
    Nmi,
    Sigterm,
    Sigkill,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SubtestVerdict", rename_all = "kebab-case")]
pub(super) enum SubtestVerdictWord {
    Pass,
    Fail,
    Skip,
    Xfail,
    Todo,
    Error,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Overall", rename_all = "kebab-case")]
pub(super) enum OverallWord {
    Regressed,
    Failed,
    Inconclusive,
    Improved,
    Unchanged,
}

/// An outcome that may not be there yet.
pub(super) mod overall {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Overall, OverallWord};

    #[derive(Serialize, Deserialize)]
    struct Word(#[serde(with = "OverallWord")] Overall);

    #[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
    pub(in crate::results) fn serialize<S: Serializer>(
        overall: &Option<Overall>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        overall.map(Word).serialize(serializer)
    }

    pub(in crate::results) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Overall>, D::Error> {
        Ok(Option::<Word>::deserialize(deserializer)?.map(|word| word.0))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "BootFault", rename_all = "kebab-case")]
pub(super) enum FaultWord {
    Kernel,
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TroubleKind", rename_all = "kebab-case")]
pub(super) enum TroubleKindWord {
    Workload,
    Lost,
    NotReached,
    Protocol,
    Host,
    Unfinished,
    Interrupted,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Failure")]
pub(super) struct FailureFields {
    #[serde(with = "FailureKindWord")]
    kind: FailureKind,
    message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Trouble")]
pub(super) struct TroubleFields {
    #[serde(with = "TroubleKindWord")]
    kind: TroubleKind,
    message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Verdict", tag = "verdict", rename_all = "kebab-case")]
pub(super) enum VerdictWord {
    Pass { checks: u64 },
    Fail(#[serde(with = "FailureFields")] Failure),
    Skip { reason: String },
    Error(#[serde(with = "TroubleFields")] Trouble),
}

/// `auto`, or the name of an accelerator.
pub(super) mod accel_choice {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Accel, AccelChoice};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        Auto,
        Kvm,
        Tcg,
        Icount,
        Native,
    }

    pub(in super::super) fn serialize<S: Serializer>(
        choice: &AccelChoice,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let word = match choice {
            AccelChoice::Auto => Word::Auto,
            AccelChoice::Only(Accel::Kvm) => Word::Kvm,
            AccelChoice::Only(Accel::Tcg) => Word::Tcg,
            AccelChoice::Only(Accel::Icount) => Word::Icount,
            AccelChoice::Only(Accel::Native) => Word::Native,
        };
        word.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<AccelChoice, D::Error> {
        Ok(match Word::deserialize(deserializer)? {
            Word::Auto => AccelChoice::Auto,
            Word::Kvm => AccelChoice::Only(Accel::Kvm),
            Word::Tcg => AccelChoice::Only(Accel::Tcg),
            Word::Icount => AccelChoice::Only(Accel::Icount),
            Word::Native => AccelChoice::Only(Accel::Native),
        })
    }
}

/// A 64 bit number as decimal text.
pub(crate) mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| de::Error::custom(format!("`{text}` is no seed: a decimal number is expected")))
    }
}

/// Parameters as plain JSON numbers and strings, without the tag that they
/// carry on the wire.
pub(super) mod params {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Value;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Plain {
        Int(i64),
        Text(String),
    }

    pub(in super::super) fn serialize<S: Serializer>(
        params: &BTreeMap<String, Value>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(params.iter().map(|(name, value)| {
            let plain = match value {
                Value::Int(number) => Plain::Int(*number),
                Value::Text(text) => Plain::Text(text.clone()),
            };
            (name, plain)
        }))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Value>, D::Error> {
        let plain = BTreeMap::<String, Plain>::deserialize(deserializer)?;
        let value = |plain| match plain {
            Plain::Int(number) => Value::Int(number),
            Plain::Text(text) => Value::Text(text),
        };
        Ok(plain.into_iter().map(|(name, plain)| (name, value(plain))).collect())
    }
}

/// What comes from elsewhere is a path that cannot be taken for something else, or damage.
pub(super) mod guest_root {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::model::GuestRoot;

    pub(crate) fn serialize<S: Serializer>(
        root: &Option<GuestRoot>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match root {
            Some(root) => serializer.collect_str(root),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<GuestRoot>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let root = GuestRoot::new(&text);
        root.map(Some).ok_or_else(|| D::Error::custom(format!("`{text}` cannot be the root of a guest")))
    }
}
