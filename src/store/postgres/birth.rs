//! Which cell of which cluster a database is: written when the cluster begins, and compared at every start, so that a database
//! that is missing, exchanged or listed in another place is refused before an org is read from the wrong one.
//!
//! A cluster begins when none of its databases has been used. The first one decides its name, whichever node comes
//! first; the others take it from there, and then the first one is marked as born. Behind that mark an empty database
//! is one that has lost what it had.

use tokio_postgres::types::{ToSql, Type};

use super::{PgError, PgStore, connection::Connection};

/// What a database says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) cluster: String,
    /// From 1.
    number: i16,
    cells: i16,
    is_born: bool,
}

impl Record {
    /// Whether it is the one at this place, from 0, of so many of the cluster.
    pub(super) fn is(&self, cluster: &str, at: usize, cells: usize) -> bool {
        let Self { number, cells: of, .. } = self;
        self.cluster == cluster && (usize::try_from(*number), usize::try_from(*of)) == (Ok(at + 1), Ok(cells))
    }
}

/// What follows from what the databases say that have answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// They are those of this cluster.
    Born(String),
    /// Each has answered, and some have no number yet. The name, where the first one has decided it.
    Beginning(Option<String>),
    /// A cluster can begin when each of them answers.
    Unknown,
}

/// Judges what each database says, by its place in the list: `None` = it has not answered, `Some(None)` = it was
/// never used.
///
/// # Errors
/// Saying which of them does not belong there.
pub(super) fn judge(found: &[Option<Option<Record>>]) -> Result<Origin, String> {
    let cells = found.len();
    let known = || found.iter().zip(1_i16..).filter_map(|(record, at)| Some((record.as_ref()?.as_ref()?, at)));
    for (record, at) in known() {
        let Record { number, cells: of, .. } = record;
        if (*number, usize::try_from(*of)) != (at, Ok(cells)) {
            return Err(format!(
                "database {at} of {cells} is database {number} of {of} of its cluster: list those of the cluster in their \
                 order; their number changes by an export and an import alone"
            ));
        }
    }
    let all_answer = found.iter().all(Option::is_some);
    let beginning = |name| if all_answer { Origin::Beginning(name) } else { Origin::Unknown };
    let Some((known_one, _)) = known().next() else { return Ok(beginning(None)) };
    let name = &known_one.cluster;
    if let Some((other, at)) = known().find(|(record, _)| record.cluster != *name) {
        return Err(format!("database {at} belongs to cluster {}, and others to cluster {name}", other.cluster));
    }
    let empty = found.iter().zip(1_i16..).filter(|(record, _)| **record == Some(None)).map(|(_, at)| at.to_string());
    let empty: Vec<String> = empty.collect();
    match found.first() {
        Some(Some(Some(first))) if !first.is_born => Ok(beginning(Some(name.clone()))),
        _ if empty.is_empty() => Ok(Origin::Born(name.clone())),
        Some(None) => Ok(Origin::Unknown),
        _ => Err(format!("database {} is empty, and cluster {name} has had orgs there: restore it", empty.join(", "))),
    }
}

impl PgStore {
    async fn record(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Option<Record>, PgError> {
        let connection = Connection::open(&self.shared.options).await.map_err(PgError)?;
        let rows = connection.query(sql, params).await.map_err(|error| PgError(error.cause()))?;
        let record = |row: &tokio_postgres::Row| Record {
            cluster: row.get(0),
            number: row.get(1),
            cells: row.get(2),
            is_born: row.get(3),
        };
        Ok(rows.first().map(record))
    }

    /// What the database says of itself; `None` = it was never used.
    pub(super) async fn origin(&self) -> Result<Option<Record>, PgError> {
        let schema = &self.shared.options.schema;
        self.record(&format!("SELECT cluster, number, cells, is_born FROM {schema}.cell"), &[]).await
    }

    /// It is this cell from now on, unless it is one already. Answers which one it is.
    pub(super) async fn be(&self, cluster: &str, cell: usize, cells: usize) -> Result<Option<Record>, PgError> {
        let schema = &self.shared.options.schema;
        let [number, cells] = [cell + 1, cells].map(|count| i16::try_from(count).unwrap_or(i16::MAX));
        let sql = format!(
            "INSERT INTO {schema}.cell (cluster, number, cells, is_born) VALUES ($1, $2, $3, false) ON CONFLICT DO NOTHING"
        );
        self.record(&sql, &[(&cluster, Type::TEXT), (&number, Type::INT2), (&cells, Type::INT2)]).await?;
        self.origin().await
    }

    /// Every database of the cluster has its number.
    pub(super) async fn all_are_born(&self) -> Result<(), PgError> {
        let schema = &self.shared.options.schema;
        self.record(&format!("UPDATE {schema}.cell SET is_born = true"), &[]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cluster: &str, number: i16, cells: i16, is_born: bool) -> Option<Option<Record>> {
        Some(Some(Record { cluster: cluster.into(), number, cells, is_born }))
    }

    #[test]
    fn a_cluster_begins_where_every_database_answers_and_none_was_used() {
        assert_eq!(judge(&[Some(None), Some(None)]), Ok(Origin::Beginning(None)));
        assert_eq!(judge(&[Some(None), None]), Ok(Origin::Unknown));
        assert_eq!(judge(&[None, Some(None)]), Ok(Origin::Unknown));
        let begun = judge(&[record("x", 1, 2, false), Some(None)]);
        assert_eq!(begun, Ok(Origin::Beginning(Some("x".into()))), "a node ended between the two");
        let counted = judge(&[record("x", 1, 2, false), record("x", 2, 2, false)]);
        assert_eq!(counted, Ok(Origin::Beginning(Some("x".into()))), "it ended before the mark");
        assert_eq!(judge(&[record("x", 1, 3, false), Some(None), None]), Ok(Origin::Unknown));
        assert_eq!(judge(&[record("x", 1, 2, false), None]), Ok(Origin::Unknown));
        assert_eq!(judge(&[None, record("x", 2, 3, false), Some(None)]), Ok(Origin::Unknown));
    }

    #[test]
    fn what_was_born_is_known_by_those_that_answer() {
        let born = Ok(Origin::Born("x".into()));
        assert_eq!(judge(&[record("x", 1, 2, true), record("x", 2, 2, false)]), born);
        assert_eq!(judge(&[record("x", 1, 2, true), None]), born);
        assert_eq!(judge(&[None, record("x", 2, 2, false)]), born);
    }

    #[test]
    fn a_database_in_another_place_or_of_another_cluster_or_emptied_is_refused() {
        let refused = |found: &[Option<Option<Record>>]| judge(found).unwrap_err();
        let swapped = refused(&[record("x", 2, 2, false), record("x", 1, 2, true)]);
        assert!(swapped.contains("database 1 of 2 is database 2 of 2"), "{swapped}");
        let fewer = refused(&[record("x", 1, 2, true)]);
        assert!(fewer.contains("database 1 of 1 is database 1 of 2"), "{fewer}");
        let other = refused(&[record("x", 1, 2, true), record("y", 2, 2, false)]);
        assert!(other.contains("database 2 belongs to cluster y, and others to cluster x"), "{other}");
        for emptied in [[record("x", 1, 2, true), Some(None)], [Some(None), record("x", 2, 2, false)]] {
            assert!(refused(&emptied).contains("is empty"), "{emptied:?}");
        }
    }
}
