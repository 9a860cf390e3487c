//! What operators grant on top of limits, on the command line.

use clap::Args;

use super::{
    EndArgs, OrgWriteArgs, WhyArgs,
    control::{amount, limit_name, rule},
    values::any_scope,
};
use crate::domain::{
    ids::{Meter, Scope},
    input::InputError,
    rows::OverrideSubject,
};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("lasts").required(true).multiple(true)
    .args(["for", "until", "this_window", "until_spent"]))]
pub(crate) struct GrantArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The limit: daily, rate, sessions, quota/executions
    #[arg(value_parser = limit_name)]
    pub limit: OverrideSubject,
    /// What is added: '$5', 40h of compute, 5GB, 100
    #[arg(value_name = "AMOUNT")]
    pub amount: String,
    /// The limit of this part of the org
    #[arg(long, value_parser = any_scope)]
    pub scope: Option<Scope>,
    #[command(flatten)]
    pub end: EndArgs,
    /// It ends with the window of the limit that runs now; of a rolling one, after its length
    #[arg(long, conflicts_with_all = ["for", "until", "until_spent"])]
    pub this_window: bool,
    /// It ends once usage over the limit has spent it, or before that at the time of --for or --until
    #[arg(long)]
    pub until_spent: bool,
    #[command(flatten)]
    pub why: WhyArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeGrantArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The number of the grant, as `org override list` shows it
    #[arg(value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub grant: i64,
    #[command(flatten)]
    pub why: WhyArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The limit: daily, rate, quota/executions
    #[arg(value_parser = limit_name)]
    pub limit: OverrideSubject,
    /// The limit of this part of the org
    #[arg(long, value_parser = any_scope)]
    pub scope: Option<Scope>,
    #[command(flatten)]
    pub why: WhyArgs,
}

impl GrantArgs {
    /// The amount in the unit of the meter that the limit counts.
    pub(crate) fn amount(&self) -> Result<i64, InputError> {
        let meter = self.limit.meter().unwrap_or_else(Meter::executions);
        let given = amount(&meter, &self.amount).filter(|amount| *amount > 0);
        let refused = || InputError::new("amount", &self.amount, format!("more than 0: {}", rule(&meter)));
        given.ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: GrantArgs,
    }

    fn parse(line: &str) -> Result<GrantArgs, clap::Error> {
        Line::try_parse_from(["grant", "acme"].into_iter().chain(line.split(' '))).map(|line| line.args)
    }

    #[test]
    fn what_is_granted_has_the_unit_of_its_limit() {
        for (line, amount) in [
            ("daily $5 --for 1h", 5_000_000),
            ("quota/compute 40h --this-window", 144_000_000),
            ("budget/bytes/daily 5MB --until 2027-01-31", 5_000_000),
            ("rate 100 --for 1h", 100),
        ] {
            assert_eq!(parse(line).unwrap().amount(), Ok(amount), "{line}");
        }
        for line in ["daily 5 --for 1h", "daily $0 --for 1h", "rate 0 --for 1h", "rate x --for 1h"] {
            let error = parse(line).unwrap().amount().unwrap_err();
            assert_eq!(error.field, "amount", "{line}");
            assert!(error.allowed.contains("more than 0"), "{line}: {error}");
        }
    }

    #[test]
    fn a_grant_says_how_long_it_lasts_in_one_way() {
        for line in ["daily $5", "daily $5 --for 1h --this-window", "daily $5 --for 1h --until 2027-01-31"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("daily $5 --this-window --until-spent").is_err());
        let bounded = parse("daily $5 --until-spent --for 1h").unwrap();
        assert_eq!((bounded.until_spent, bounded.end.after), (true, Some(3_600_000)));
        assert!(parse("daily $5 --until-spent").unwrap().until_spent);
    }
}
