//! Groups of threads without an engine.

use std::thread;

use super::*;

/// Runs `member` on a thread for each rank of a new meeting, and collects what they return.
fn together<T: Send>(size: usize, member: impl Fn(&Meeting, usize) -> T + Sync) -> Vec<T> {
    let meeting = Meeting::new(size);
    meeting.begin(size);
    thread::scope(|scope| {
        let (meeting, member) = (&meeting, &member);
        let threads: Vec<_> = (0..size)
            .map(|rank| scope.spawn(move || member(meeting, rank)))
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results.map(|result| result.expect("no panic")).collect()
    })
}

/// Parts of different lengths, some of them empty.
fn part(rank: usize, turn: usize) -> Vec<u8> {
    vec![(rank * 31 + turn) as u8; (rank + turn) % 5 * (1 + turn % 3)]
}

fn aborted(result: Result<Vec<u8>, Leave>) -> String {
    match result {
        Err(Leave::Aborted(reason)) => reason,
        other => panic!("expected to be told to leave, found {other:?}"),
    }
}

#[test]
fn all_get_the_parts_of_all_in_order() {
    for size in [1, 2, 3, 7] {
        together(size, |meeting, rank| {
            for turn in 0..500 {
                if turn == 250 && rank + 1 == size {
                    // The others fall asleep.
                    thread::sleep(10 * PATIENCE);
                }
                let all = meeting.all_gather(rank, part(rank, turn), false);
                let expected: Vec<u8> = (0..size).flat_map(|rank| part(rank, turn)).collect();
                assert_eq!(all, Ok(expected));
            }
            meeting.leave(rank, None);
        });
    }
}

#[test]
fn one_that_fails_releases_the_others_with_its_reason() {
    for late in [Duration::ZERO, 10 * PATIENCE] {
        let reasons = together(4, |meeting, rank| {
            assert!(meeting.all_gather(rank, part(rank, 0), false).is_ok());
            if rank == 2 {
                thread::sleep(late);
                meeting.leave(rank, Some("it burnt".to_owned()));
                return None;
            }
            let reason = aborted(meeting.all_gather(rank, part(rank, 1), false));
            assert_eq!(meeting.first_failed(), Some(2));
            // A member that was told to leave does not get in again, even if all others are still there.
            aborted(meeting.all_gather(rank, part(rank, 2), false));
            Some(reason)
        });
        let released: Vec<_> = reasons.into_iter().flatten().collect();
        assert_eq!(released.len(), 3);
        for reason in released {
            assert_eq!(reason, "instance 2 of the group failed: it burnt");
        }
    }
}

#[test]
fn nobody_waits_for_one_that_is_done() {
    together(3, |meeting, rank| {
        if rank != 0 {
            aborted(meeting.all_gather(rank, Vec::new(), false));
        }
        meeting.leave(rank, None);
    });
    let meeting = Meeting::new(3);
    meeting.begin(1);
    aborted(meeting.all_gather(0, Vec::new(), false));
    meeting.begin(3);
    assert_eq!(meeting.first_failed(), None);
}

#[test]
fn cancelling_is_told_to_all_at_the_same_gather() {
    for sees_it in 0..3 {
        together(3, |meeting, rank| {
            for turn in 0..10 {
                let cancelled = turn >= 5 && (rank == sees_it || turn > 5);
                let told = meeting.all_gather(rank, part(rank, turn), cancelled);
                assert_eq!(told == Err(Leave::Cancelled), turn >= 5, "turn {turn}");
            }
        });
    }
}

#[test]
fn a_group_can_be_called_again_after_a_failure() {
    let meeting = Meeting::new(2);
    for round in 0..100 {
        meeting.begin(2);
        thread::scope(|scope| {
            for rank in 0..2 {
                let meeting = &meeting;
                scope.spawn(move || {
                    let all = meeting.all_gather(rank, vec![rank as u8], false);
                    assert_eq!(all, Ok(vec![0, 1]));
                    if rank == round % 2 {
                        meeting.leave(rank, Some("failed".to_owned()));
                    } else {
                        aborted(meeting.all_gather(rank, vec![9], false));
                    }
                });
            }
        });
    }
}
