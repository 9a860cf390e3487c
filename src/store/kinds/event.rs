//! What happened to an org. Variants are added behind the others.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::domain::{
    events::{Change, EventRow, Happening},
    ids::Reason,
    input::InputError,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventV2<'a> {
    at: Millis,
    #[serde(borrow)]
    what: HappeningV2<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum HappeningV2<'a> {
    Operated {
        #[serde(borrow)]
        caller: Cow<'a, str>,
        #[serde(borrow)]
        command: Cow<'a, str>,
        #[serde(borrow)]
        changes: Vec<ChangeV2<'a>>,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeV2<'a> {
    #[serde(borrow)]
    field: Cow<'a, str>,
    #[serde(borrow)]
    old: Cow<'a, str>,
    #[serde(borrow)]
    new: Cow<'a, str>,
}

pub(super) fn write<S: Serializer>(row: &EventRow, out: S) -> Result<S::Ok, S::Error> {
    EventV2 { at: row.at, what: (&row.what).into() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(number: u64, from: D) -> Result<EventRow, D::Error> {
    let EventV2 { at, what } = EventV2::deserialize(from)?;
    Ok(EventRow { number, at, what: what.into_happening().map_err(D::Error::custom)? })
}

impl<'a> From<&'a Happening> for HappeningV2<'a> {
    fn from(what: &'a Happening) -> Self {
        match what {
            Happening::Operated { caller, command, changes, reason } => Self::Operated {
                caller: Cow::from(&**caller),
                command: Cow::from(&**command),
                changes: changes.iter().map(ChangeV2::from).collect(),
                reason: reason.as_str().into(),
            },
        }
    }
}

impl HappeningV2<'_> {
    fn into_happening(self) -> Result<Happening, InputError> {
        Ok(match self {
            Self::Operated { caller, command, changes, reason } => Happening::Operated {
                caller: caller.into(),
                command: command.into(),
                changes: changes.into_iter().map(Change::from).collect(),
                reason: Reason::parse("reason", &reason)?,
            },
        })
    }
}

impl<'a> From<&'a Change> for ChangeV2<'a> {
    fn from(Change { field, old, new }: &'a Change) -> Self {
        let [field, old, new] = [field, old, new].map(|text| Cow::from(&**text));
        Self { field, old, new }
    }
}

impl From<ChangeV2<'_>> for Change {
    fn from(ChangeV2 { field, old, new }: ChangeV2<'_>) -> Self {
        Self { field: field.into(), old: old.into(), new: new.into() }
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, EventRow)> {
    use crate::store::samples::T0;

    let changes = vec![Change::new("daily spend", "$5.00", "$10.00"), Change::new("weekly \"spend\"", "", "é")];
    let reason = Reason::parse("reason", "they have paid").unwrap();
    let what = Happening::Operated { caller: "cert:ops".into(), command: "UpdateBudget".into(), changes, reason };
    vec![("event_operated", EventRow { number: 7, at: T0, what })]
}
