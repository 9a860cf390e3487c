//! Pools of upstream accounts. Version 3 has what is set for a pool. `told` is of an older tollgate: what was announced is an alert.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use super::{stored::mirror, window::WindowV2};
use crate::domain::{
    ids::PoolId,
    input::InputError,
    policy::{PoolSettings, Profile},
    rows::PoolRow,
    window::{Millis, Window},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolV2 {
    version: u64,
    told: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolV3<'a> {
    version: u64,
    told: bool,
    #[serde(borrow)]
    settings: SettingsV3<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsV3<'a> {
    profile: Option<ProfileV3>,
    daily_limit: Option<u64>,
    safety_buffer: Option<u64>,
    window: Option<WindowV2>,
    per_minute: Option<u64>,
    cooldown: Option<Millis>,
    quarantine: Option<Millis>,
    #[serde(borrow)]
    quota_texts: Option<Vec<Cow<'a, str>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProfileV3 {
    Relay,
    Llm,
}

mirror!(Profile <=> ProfileV3 { Relay, Llm });

pub(super) fn version(row: &PoolRow) -> u8 {
    if row.settings == PoolSettings::default() { 2 } else { 3 }
}

pub(super) fn write<S: Serializer>(row: &PoolRow, out: S) -> Result<S::Ok, S::Error> {
    if version(row) == 2 {
        return PoolV2 { version: row.version, told: row.announced }.serialize(out);
    }
    let settings = SettingsV3::try_from(&row.settings).map_err(S::Error::custom)?;
    PoolV3 { version: row.version, told: row.announced, settings }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(stored: u8, id: PoolId, from: D) -> Result<PoolRow, D::Error> {
    if stored == 2 {
        let PoolV2 { version, told } = PoolV2::deserialize(from)?;
        return Ok(PoolRow { id, version, announced: told, settings: PoolSettings::default() });
    }
    let PoolV3 { version, told, settings } = PoolV3::deserialize(from)?;
    let settings = settings.into_settings().map_err(D::Error::custom)?;
    Ok(PoolRow { id, version, announced: told, settings })
}

impl<'a> TryFrom<&'a PoolSettings> for SettingsV3<'a> {
    type Error = InputError;

    fn try_from(set: &'a PoolSettings) -> Result<Self, InputError> {
        let texts = set.quota_texts.as_ref();
        Ok(Self {
            profile: set.profile.map(ProfileV3::from),
            daily_limit: set.daily_limit,
            safety_buffer: set.safety_buffer,
            window: set.window.map(WindowV2::try_from).transpose()?,
            per_minute: set.per_minute,
            cooldown: set.cooldown,
            quarantine: set.quarantine,
            quota_texts: texts.map(|texts| texts.iter().map(Cow::from).collect()),
        })
    }
}

impl SettingsV3<'_> {
    fn into_settings(self) -> Result<PoolSettings, InputError> {
        Ok(PoolSettings {
            profile: self.profile.map(Profile::from),
            daily_limit: self.daily_limit,
            safety_buffer: self.safety_buffer,
            window: self.window.map(Window::try_from).transpose()?,
            per_minute: self.per_minute,
            cooldown: self.cooldown,
            quarantine: self.quarantine,
            quota_texts: self.quota_texts.map(|texts| texts.into_iter().map(Cow::into_owned).collect()),
        })
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, PoolRow)> {
    use crate::{bounds::DAY_MS, store::samples::pool_id};

    let plain = PoolRow { id: pool_id(), version: 4, announced: true, settings: PoolSettings::default() };
    let settings = PoolSettings {
        profile: Some(Profile::Llm),
        daily_limit: Some(500),
        safety_buffer: Some(0),
        window: Some(Window::Anchored { len: DAY_MS }),
        per_minute: Some(60),
        cooldown: Some(5_000),
        quarantine: Some(DAY_MS),
        quota_texts: Some(vec!["per day".into(), "erschöpft".into()]),
    };
    let id = PoolId::parse("pool", "keys").unwrap();
    vec![("pool", plain.clone()), ("pool_settings", PoolRow { id, settings, ..plain })]
}
