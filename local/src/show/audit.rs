//! Audits and rebuilt views, for people.

use std::fmt::Write;

use tidemark_ledger::Audit;
use tidemark_model::Decimal;

use super::{right_aligned, ruled};

/// What an audit found: drifted numbers, a table of the views, and the verdict.
pub fn audit(audit: &Audit) -> String {
    let total = audit.total();
    let verdict = match (audit.remaining(), total.drifted) {
        (0, 0) => format!("No drift in {} rows", total.rows),
        (0, drifted) => format!("Repaired: {drifted} of {} rows had drifted", total.rows),
        (remaining, _) => {
            format!("DRIFT: {remaining} of {} rows differ from what the entities add up to", total.rows)
        }
    };
    told(audit, &verdict, ["recomputed", "drifted", "repaired"])
}

/// By what rebuilt views differ from the live rows: numbers, a table of the views, and what was done about it.
pub fn rebuilt(audit: &Audit) -> String {
    let total = audit.total();
    let verdict = match (audit.remaining(), total.drifted) {
        (0, 0) => format!("The {} rows are as rebuilt", total.rows),
        (0, differing) => format!("Swapped: {differing} of {} rows differed, and are as rebuilt now", total.rows),
        (remaining, _) => {
            format!("{remaining} of {} rows differ from the rebuilt ones; --swap puts these in", total.rows)
        }
    };
    told(audit, &verdict, ["rebuilt", "differing", "swapped"])
}

/// What a look at the rows found, in the words of who asks: for what is right, what is not, and what was put right.
fn told(audit: &Audit, verdict: &str, [right, wrong, done]: [&str; 3]) -> String {
    let mut text = String::new();
    if !audit.drift.is_empty() {
        let mut table = ruled();
        table.set_header(["view", "row", "number", "stored", right, ""]);
        for drift in &audit.drift {
            let number = |n: Option<Decimal>| n.map_or("none".to_owned(), |n| n.to_string());
            table.add_row([
                drift.view.to_owned(),
                format!("{} {}", drift.pk, drift.sk),
                drift.measure.clone(),
                number(drift.stored),
                number(drift.recomputed),
                match (drift.repaired, drift.unreadable) {
                    (true, _) => done,
                    (_, true) => "unreadable",
                    _ => "",
                }
                .to_owned(),
            ]);
        }
        right_aligned(&mut table, 3..5);
        let _infallible = writeln!(text, "{table}");
    }
    let mut table = ruled();
    table.set_header(["view", "rows", wrong, done, "undecided", "skipped", "forgotten"]);
    for (view, found) in &audit.views {
        let counts = [found.rows, found.drifted, found.repaired, found.undecided, found.skipped, found.forgotten];
        table.add_row(std::iter::once((*view).to_owned()).chain(counts.map(|n| n.to_string())));
    }
    right_aligned(&mut table, 1..7);
    let undecided = match audit.total().undecided {
        0 => String::new(),
        rows => format!("; {rows} are undecided, because invocations moved them at each look"),
    };
    let unfinished = if audit.unfinished { "; UNFINISHED, for the error above" } else { "" };
    let _infallible = write!(
        text,
        "{table}\n{verdict}{undecided}{unfinished} (entities {}, looks {}, read units {:.0}, write units {:.0}).",
        audit.entities, audit.rounds, audit.read_units, audit.write_units
    );
    text
}
