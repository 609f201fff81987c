//! Any order of what can reach a session: it ends, every planned test has at most
//! one verdict, and none is a pass, for nobody here knows the nonce.

#![no_main]

use std::time::Duration;

use kregress::lab::{Action, Input, Limits, Session, SessionTest};
use kregress::model::{SuiteName, TestId, Verdict};
use kregress_wire::Nonce;
use libfuzzer_sys::fuzz_target;

const TESTS: u32 = 3;

fuzz_target!(|bytes: &[u8]| {
    let test = |id| SessionTest {
        id,
        name: TestId { suite: SuiteName("suite".to_owned()), test: format!("test{id}"), params: Vec::new() },
        timeout: Duration::from_secs(60),
        known_metrics: vec!["drain_time".to_owned()],
        required_metrics: Vec::new(),
        exec: None,
    };
    let nonce = Nonce::from_bytes([7; 16]);
    let mut session = Session::new(nonce, (0..TESTS).map(test).collect(), Limits::scaled(1.0));
    let (mut verdicts, mut ended) = (Vec::new(), 0);
    let mut take = |actions: Vec<Action>| {
        for action in actions {
            match action {
                Action::Judged(judged) => {
                    assert!(!matches!(judged.verdict, Verdict::Pass { .. }), "{judged:?}");
                    assert!(judged.id < TESTS && !verdicts.contains(&judged.id), "{judged:?}");
                    verdicts.push(judged.id);
                }
                Action::Ended(_) => ended += 1,
                _ => {}
            }
        }
        ended
    };
    let mut at = Duration::ZERO;
    let mut rest = bytes;
    while let [kind, length, after @ ..] = rest {
        let (piece, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let input = match kind % 9 {
            0 | 1 => Input::Control(piece),
            2 | 3 => Input::Console(piece),
            4 => Input::Output(piece),
            5 => Input::ControlClosed,
            6 => Input::ConsoleClosed,
            7 => Input::Exited { status: "exit status: 1".to_owned() },
            _ => Input::Tick,
        };
        // Limits pass on the way.
        at += Duration::from_millis(u64::from(*length) * 20);
        if take(session.step(at, input)) > 0 {
            break;
        }
    }
    // Whatever happened: with time alone it comes to its end.
    for _ in 0..100 {
        at = at.max(session.deadline()) + Duration::from_millis(1);
        if take(session.step(at, Input::Tick)) > 0 {
            break;
        }
    }
    assert_eq!(take(Vec::new()), 1, "it ended once");
});
