//! Sharing out one subscriber's bandwidth among the tracks it receives.
//!
//! Every video gets its lowest layer first, in the order of priority; what is left raises one layer of one track at a
//! time, again in that order. What does not fit is paused, except the first: somebody who receives video sees some.

/// A layer within a subscriber's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) rank: usize,
    /// bit/s.
    pub(crate) bitrate: u64,
}

/// One video track of the subscriber.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    pub(crate) priority: u8,
    /// Its layers, lowest rank first; never empty.
    pub(crate) steps: Vec<Step>,
    /// What it has now: `None` when it is paused.
    pub(crate) current: Option<usize>,
}

/// Going up must fit with this much to spare, in percent, so that nothing flips at the edge.
const UP_MARGIN: u64 = 115;

/// The rank that each demand gets, `None` = paused. `budget` is in bit/s, audio already taken off.
pub(crate) fn allocate(budget: u64, demands: &[Demand]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..demands.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(demands.get(index).map_or(0, |demand| demand.priority)));
    let mut granted: Vec<Option<usize>> = vec![None; demands.len()];
    let mut left = budget;
    for (place, &index) in order.iter().enumerate() {
        let (Some(demand), Some(grant)) = (demands.get(index), granted.get_mut(index)) else {
            continue;
        };
        let Some(step) = demand.steps.first() else {
            continue;
        };
        if place == 0 || cost(demand, step) <= left {
            *grant = Some(0);
            left = left.saturating_sub(step.bitrate);
        }
    }
    let highest = demands.iter().map(|demand| demand.steps.len()).max().unwrap_or(0);
    for position in 1..highest {
        for &index in &order {
            let (Some(demand), Some(grant)) = (demands.get(index), granted.get_mut(index)) else {
                continue;
            };
            let Some(held) = grant.and_then(|held| demand.steps.get(held)) else {
                continue;
            };
            let Some(step) = demand.steps.get(position) else {
                continue;
            };
            if cost(demand, step) <= left.saturating_add(held.bitrate) {
                left = left.saturating_add(held.bitrate).saturating_sub(step.bitrate);
                *grant = Some(position);
            }
        }
    }
    let rank =
        |(demand, grant): (&Demand, &Option<usize>)| grant.and_then(|at| demand.steps.get(at)).map(|step| step.rank);
    demands.iter().zip(&granted).map(rank).collect()
}

fn cost(demand: &Demand, step: &Step) -> u64 {
    let raised = demand.current.is_none_or(|current| step.rank > current);
    if raised { step.bitrate.saturating_mul(UP_MARGIN) / 100 } else { step.bitrate }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(priority: u8, current: Option<usize>) -> Demand {
        let steps = [150, 500, 1700].into_iter().enumerate().map(|(rank, kbit)| Step { rank, bitrate: kbit * 1000 });
        Demand { priority, steps: steps.collect(), current }
    }

    #[test]
    fn everybody_gets_a_low_layer_before_anybody_gets_a_high_one() {
        let demands = [camera(1, Some(2)), camera(1, Some(2)), camera(255, Some(2))];
        assert_eq!(allocate(10_000_000, &demands), [Some(2), Some(2), Some(2)]);
        assert_eq!(allocate(2_750_000, &demands), [Some(1), Some(1), Some(2)]);
        assert_eq!(allocate(2_300_000, &demands), [Some(1), Some(1), Some(1)]);
        assert_eq!(allocate(450_000, &demands), [Some(0), Some(0), Some(0)]);
    }

    #[test]
    fn what_does_not_fit_is_paused_but_never_the_most_important() {
        let demands = [camera(1, Some(0)), camera(255, Some(0))];
        assert_eq!(allocate(200_000, &demands), [None, Some(0)]);
        assert_eq!(allocate(0, &demands), [None, Some(0)]);
    }

    #[test]
    fn going_up_needs_room_to_spare() {
        assert_eq!(allocate(550_000, &[camera(1, Some(0))]), [Some(0)]);
        assert_eq!(allocate(550_000, &[camera(1, Some(1))]), [Some(1)]);
        assert_eq!(allocate(580_000, &[camera(1, Some(0))]), [Some(1)]);
    }
}
