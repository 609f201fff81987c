//! `netns/limit`: no more namespaces than allowed, and all that are.

use kregress_wire::{ParamInfo, WorkloadInfo};
use rustix::io::Errno;

use super::{begin_census, expect_all_gone};
use crate::context::{Context, Stop, WorkloadResult};
use crate::netns::{CreateError, Home, Namespace};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "netns/limit",
    summary: "creates as many namespaces as max_net_namespaces allows, and one more",
    params: &[ParamInfo::Int { name: "most", summary: "the limit", min: 1, max: 10_000, default: 10 }],
    metrics: &[],
    modules: &[],
};

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let most = ctx.count("most")?;
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    for _ in 0..2 {
        drop(expect_all_gone(ctx, &mut census, most)?);
        // What proved it dies beside the others: it has to be gone first.
        drop(expect_all_gone(ctx, &mut census, 1)?);
        let proof = expect_all_gone(ctx, &mut census, 1)?.fresh;
        // The proof is the first of those allowed.
        census.allow(most)?;
        let mut held = vec![proof];
        while held.len() < most {
            let created = Namespace::create();
            let number = held.len();
            held.push(created.map_err(|error| match error {
                CreateError::Unshare(Errno::NOSPC) => Stop::Fail(format!(
                    "{most} namespaces are allowed, and creation number {number} fails with ENOSPC"
                )),
                other => other.stop(number),
            })?);
        }
        let beyond = Namespace::create();
        let refused = matches!(&beyond, Err(CreateError::Unshare(Errno::NOSPC)));
        home.back()?;
        ctx.check(refused, || {
            let seen = match &beyond {
                Ok(_) => "succeeds".to_owned(),
                Err(error) => format!("ends with {error:?}"),
            };
            format!("{most} namespaces are allowed and alive, and one more {seen}")
        })?;
        drop((held, beyond));
    }
    expect_all_gone(ctx, &mut census, most).map(drop)
}
