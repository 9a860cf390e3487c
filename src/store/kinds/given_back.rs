//! What the outcome of a refund remembers of each meter.

use serde::{Deserialize, Serialize};

use super::stored::hex128;
use crate::domain::{ids::Meter, input::InputError, refund::GivenBack};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfDecisionV2 {
    #[serde(with = "hex128")]
    pub(super) id: u128,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenBackV2 {
    meter: String,
    asked: u64,
    given: u64,
}

impl From<&GivenBack> for GivenBackV2 {
    fn from(of: &GivenBack) -> Self {
        Self { meter: of.meter.as_str().to_owned(), asked: of.asked, given: of.given }
    }
}

impl TryFrom<GivenBackV2> for GivenBack {
    type Error = InputError;

    fn try_from(GivenBackV2 { meter, asked, given }: GivenBackV2) -> Result<Self, InputError> {
        Ok(Self { meter: Meter::parse("meter", &meter)?, asked, given })
    }
}
