//! `--kubernetes-secret` in a build that knows no clusters.

use crate::{
    cli::InCluster,
    failure::{Exit, Failure},
    instance::Environment,
    output::Output,
};

fn refused<T>() -> Result<T, Failure> {
    let line = "this program was built without the feature `kubernetes`, and writes no Secret of a cluster";
    Err(Failure::new(Exit::Usage, line))
}

pub(super) async fn set(_: &Environment, _: &str, _: &InCluster, _: Output) -> Result<(), Failure> {
    refused()
}

pub(super) async fn rotate(
    _: &Environment,
    _: &str,
    _leaked: bool,
    _: &InCluster,
    _: Output,
) -> Result<(), Failure> {
    refused()
}

pub(super) async fn forget(
    _: &Environment,
    _: &str,
    _: &InCluster,
    _: Output,
) -> Result<(), Failure> {
    refused()
}
