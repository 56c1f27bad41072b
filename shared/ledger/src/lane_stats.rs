//! What a lane's plans have cost: numbers for monitoring, added to at step 7 by whoever finishes a plan, so that
//! each plan counts once.

use std::ops::AddAssign;
use std::time::Duration;

use tidemark_model::Decimal;

use crate::Units;

/// What a lane's plans have cost since its first, or one plan of it: from the start of the commit that finished it, or
/// from the plan that this one finished before, to its step 7, which is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Plans finished.
    pub plans: u64,
    /// Transitions that another lane forestalled.
    pub conflicts: u64,
    /// Read request units consumed.
    pub read_units: Decimal,
    /// Write request units consumed.
    pub write_units: Decimal,
    /// Seconds spent, to the ms.
    pub seconds: Decimal,
    /// Plans by how long they took: up to each of [`LaneStats::BOUNDS_MS`] and above the one before, and longer
    /// than all.
    pub took: [u64; Self::BOUNDS_MS.len() + 1],
}

impl LaneStats {
    /// The upper bounds of the classes in which plans are counted, in ms.
    pub const BOUNDS_MS: [u64; 10] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

    /// The numbers of one plan.
    pub fn of_plan(conflicts: usize, units: Units, took: Duration) -> Self {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let class = Self::BOUNDS_MS.partition_point(|bound| *bound < ms);
        Self {
            plans: 1,
            conflicts: conflicts as u64,
            read_units: thousandths(units.read * 1_000.0),
            write_units: thousandths(units.write * 1_000.0),
            seconds: thousandths(ms as f64),
            took: std::array::from_fn(|at| u64::from(at == class)),
        }
    }
}

impl AddAssign<&Self> for LaneStats {
    fn add_assign(&mut self, other: &Self) {
        self.plans += other.plans;
        self.conflicts += other.conflicts;
        self.read_units = self.read_units.plus(other.read_units);
        self.write_units = self.write_units.plus(other.write_units);
        self.seconds = self.seconds.plus(other.seconds);
        for (plans, others) in self.took.iter_mut().zip(other.took) {
            *plans += others;
        }
    }
}

/// Decimals, so that sums come out the same here and in the table.
fn thousandths(n: f64) -> Decimal {
    Decimal::of_units(n.round() as i128 * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_counts_in_the_class_that_its_time_does_not_pass() {
        for (ms, class) in [(0, 0), (50, 0), (51, 1), (60_000, 9), (60_001, 10)] {
            let stats = LaneStats::of_plan(2, Units { read: 1.5, write: 7.0 }, Duration::from_millis(ms));
            assert_eq!(stats.took.iter().position(|plans| *plans == 1), Some(class), "{ms}");
            assert_eq!((stats.plans, stats.conflicts, stats.took.iter().sum()), (1, 2, 1));
            assert_eq!(
                stats.seconds.to_string(),
                Decimal::whole(ms as i64).mean(Decimal::whole(1_000)).unwrap().to_string()
            );
            assert_eq!((stats.read_units.to_string(), stats.write_units.to_string()), ("1.5".into(), "7".into()));
        }
    }
}
