//! `tollgate reservation`: what is held, and what expired unsettled.

use crate::{
    cli::{
        Exit,
        args::{ReservationListArgs, ReservationVerb, StateArg},
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View, table, text, time},
    },
    domain::window::Millis,
    rpc::table,
    wire::v1::{ListReservationsRequest, ListReservationsResponse, Reservation, ReservationState},
};

use super::{
    all_scopes,
    format::{amount, since, when},
    paging, scope_text,
};

pub(super) async fn run(
    connection: &Connection,
    verb: &ReservationVerb,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    match verb {
        ReservationVerb::List(args) => list(connection, args, output).await,
    }
}

async fn list(connection: &Connection, args: &ReservationListArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let state = args.state.map(|state| match state {
        StateArg::Open => ReservationState::Open.into(),
        StateArg::Expired => ReservationState::Expired.into(),
    });
    let (reservations, next_page_token) = paging::collect(&args.page, async |page_size, page_token| {
        let request = ListReservationsRequest {
            org: args.org.to_string(),
            page_size,
            page_token,
            states: state.into_iter().collect(),
            scope: scope_text(args.scope.as_ref()),
            min_age_ms: i64::try_from(args.older_than.unwrap_or(0)).unwrap_or(i64::MAX),
        };
        let page = connection.ask::<table::ListReservations>(request).await?;
        Ok((page.reservations, page.next_page_token))
    })
    .await?;
    let all = ListReservationsResponse { reservations, next_page_token };
    output.answer(&all, |all, now| reservation_table(&all.reservations, now))?;
    paging::continuation(&all.next_page_token, output);
    Ok(Exit::Done)
}

pub(super) fn reservation_table(reservations: &[Reservation], now: Millis) -> View {
    let columns = [
        text("reservation"),
        text("scope"),
        text("amounts"),
        text("state").toned(Tone::of_state),
        time("reserved").spare(1),
        time("expires"),
    ];
    let rows = reservations.iter().map(|held| {
        let amounts = held.amounts.iter().map(|held| format!("{} {}", held.meter, amount(&held.meter, held.amount)));
        let expires = if held.state() == ReservationState::Expired { since } else { when };
        [
            held.reservation_id.clone(),
            all_scopes(&held.scope, &held.scopes),
            amounts.collect::<Vec<_>>().join(", "),
            state_name(held.state),
            since(now, held.reserved_at_ms),
            expires(now, held.expires_at_ms),
        ]
    });
    table(columns, rows)
}

/// `open`; a state of a newer node is its number.
fn state_name(state: i32) -> String {
    match ReservationState::try_from(state) {
        Ok(state) => state.as_str_name().trim_start_matches("RESERVATION_STATE_").to_lowercase(),
        Err(_) => format!("state {state}"),
    }
}
