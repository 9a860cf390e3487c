//! What an operator has set over everything else, one row for each subject of a scope.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::window::WindowV2;

use crate::domain::{
    ids::{Reason, Scope},
    input::InputError,
    rows::{OverrideRow, OverrideSubject, Setting},
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideV2<'a> {
    version: u64,
    #[serde(borrow)]
    setting: SettingV2<'a>,
    set_at: Millis,
    until: Option<Millis>,
    ended_at: Option<Millis>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SettingV2<'a> {
    Amount(u64),
    Unlimited,
    Shadow,
    Plan(#[serde(borrow)] Cow<'a, str>),
    Exempt(bool),
    Ends,
    // Variants are added at the end: what was written before still reads.
    Extra(u64),
    CountsFrom { skipped: u64, window: WindowV2 },
    UntilSpent { granted: u64, spent: u64 },
}

impl<'a> TryFrom<&'a Setting> for SettingV2<'a> {
    type Error = InputError;

    fn try_from(setting: &'a Setting) -> Result<Self, InputError> {
        Ok(match setting {
            Setting::Amount(amount) => Self::Amount(*amount),
            Setting::Unlimited => Self::Unlimited,
            Setting::Shadow => Self::Shadow,
            Setting::Plan(plan) => Self::Plan(plan.into()),
            Setting::Exempt(exempt) => Self::Exempt(*exempt),
            Setting::Ends => Self::Ends,
            Setting::Extra(amount) => Self::Extra(*amount),
            Setting::UntilSpent { granted, spent } => Self::UntilSpent { granted: *granted, spent: *spent },
            Setting::CountsFrom { skipped, window } => {
                Self::CountsFrom { skipped: *skipped, window: (*window).try_into()? }
            }
        })
    }
}

impl TryFrom<SettingV2<'_>> for Setting {
    type Error = InputError;

    fn try_from(stored: SettingV2<'_>) -> Result<Self, InputError> {
        Ok(match stored {
            SettingV2::Amount(amount) => Self::Amount(amount),
            SettingV2::Unlimited => Self::Unlimited,
            SettingV2::Shadow => Self::Shadow,
            SettingV2::Plan(plan) => Self::Plan(plan.into_owned()),
            SettingV2::Exempt(exempt) => Self::Exempt(exempt),
            SettingV2::Ends => Self::Ends,
            SettingV2::Extra(amount) => Self::Extra(amount),
            SettingV2::UntilSpent { granted, spent } => Self::UntilSpent { granted, spent },
            SettingV2::CountsFrom { skipped, window } => Self::CountsFrom { skipped, window: window.try_into()? },
        })
    }
}

pub(super) fn write<S: Serializer>(row: &OverrideRow, out: S) -> Result<S::Ok, S::Error> {
    let OverrideRow { scope: _, subject: _, version, setting, set_at, until, ended_at, reason } = row;
    let (version, set_at, until, ended_at) = (*version, *set_at, *until, *ended_at);
    let setting = setting.try_into().map_err(S::Error::custom)?;
    OverrideV2 { version, setting, set_at, until, ended_at, reason: reason.as_str().into() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    scope: Scope,
    subject: OverrideSubject,
    from: D,
) -> Result<OverrideRow, D::Error> {
    let OverrideV2 { version, setting, set_at, until, ended_at, reason } = OverrideV2::deserialize(from)?;
    let reason = Reason::parse("reason", &reason).map_err(D::Error::custom)?;
    let setting = setting.try_into().map_err(D::Error::custom)?;
    Ok(OverrideRow { scope, subject, version, setting, set_at, until, ended_at, reason })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, OverrideRow)> {
    use crate::{
        domain::window::Window,
        store::samples::{T0, scope},
    };

    let row = |scope, subject: &str, setting| OverrideRow {
        scope,
        subject: OverrideSubject::parse("limit", subject).unwrap(),
        version: 3,
        setting,
        set_at: T0,
        until: None,
        ended_at: None,
        reason: Reason::parse("reason", "").unwrap(),
    };
    let reason = Reason::parse("reason", "ticket 4711: let them through").unwrap();
    let amount = row(scope(), "budget/daily", Setting::Amount(50_000_000));
    vec![
        ("override", OverrideRow { until: Some(T0 + 3_600_000), reason, ..amount }),
        ("override_unlimited", row(Scope::org(), "rate", Setting::Unlimited)),
        ("override_shadow", OverrideRow { ended_at: Some(T0 + 5), ..row(scope(), "quota/compute", Setting::Shadow) }),
        ("override_plan", row(Scope::org(), "plan", Setting::Plan("pro".into()))),
        ("override_exemption", row(Scope::org(), "exemption", Setting::Exempt(true))),
        (
            "override_grant",
            OverrideRow { until: Some(T0 + 9), ..row(scope(), "grant/7/budget/daily", Setting::Extra(5)) },
        ),
        (
            "override_until_spent",
            row(scope(), "grant/8/budget/daily", Setting::UntilSpent { granted: 20_000_000, spent: 3_000_000 }),
        ),
        (
            "override_reset",
            OverrideRow {
                until: Some(T0 + 9),
                ..row(
                    scope(),
                    "reset/budget/daily",
                    Setting::CountsFrom { skipped: 4, window: Window::Rolling { len: 86_400_000 } },
                )
            },
        ),
        ("override_freeze", OverrideRow { until: Some(T0 + 7), ..row(Scope::org(), "freeze", Setting::Ends) }),
    ]
}
