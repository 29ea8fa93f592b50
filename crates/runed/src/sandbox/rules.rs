//! Landlock (landlock(7)): the same paths once more, held by the kernel whatever the mounts are.

use super::{Layers, paths};
use crate::process::Order;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope,
};
use std::path::Path;

/// The newest version of the interface that this was tried with. Older kernels enforce what they know of it.
const VERSION: ABI = ABI::V7;

/// Restricts this process, and all it starts, and says how far the kernel could.
pub(super) fn restrict(order: &Order, layers: &mut Layers) -> Result<(), RulesetError> {
    let status = rules(order, layers)?.restrict_self()?;
    let version = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => format!("{effective_abi:?}"),
        LandlockStatus::NotEnabled => "not enabled in this kernel".into(),
        _ => "not in this kernel".into(),
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced => layers.enforced.push(format!("Landlock {version}")),
        RulesetStatus::PartiallyEnforced => {
            layers.enforced.push(format!("Landlock {version}, in part"));
            layers.missing.push(format!("this kernel's Landlock ({version}) lacks some rights"));
        }
        RulesetStatus::NotEnforced => layers.missing.push(format!("no Landlock: {version}")),
    }
    Ok(())
}

fn rules(order: &Order, layers: &Layers) -> Result<RulesetCreated, RulesetError> {
    let all = AccessFs::from_all(VERSION);
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(VERSION))?;
    // In a network of its own there is only a loopback interface, which the TCP bridge needs. Elsewhere: no TCP at all.
    if !layers.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(VERSION))?;
    }
    let mut created = ruleset.create()?;
    let read = AccessFs::from_read(VERSION);
    for path in paths::SYSTEM.iter().chain(paths::ETC) {
        created = allow(created, Path::new(path), read)?;
    }
    for device in paths::DEVICES {
        created = allow(created, Path::new(device), AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    created = allow(created, &order.agent.program, read)?;
    if let Some(claude) = &order.shown.claude {
        created = allow(created, claude, read)?;
    }
    if let Some(skills) = super::skills(order, layers) {
        created = allow(created, skills, read)?;
    }
    created = allow(created, &order.turn_dir, AccessFs::ReadDir.into())?;
    let write = all & !(AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev);
    created = allow(created, &order.home, write)?;
    if layers.root {
        created = allow(created, Path::new("/tmp"), write)?;
        created = allow(created, Path::new("/proc"), AccessFs::ReadFile | AccessFs::ReadDir)?;
        // Names only: whatever lies in it was put there by the root.
        created = allow(created, Path::new("/"), AccessFs::ReadDir.into())?;
    }
    Ok(created)
}

/// Allows `access` to `path` and all below it. A path that is not there is left out.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(place) = PathFd::new(path) else { return Ok(ruleset) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(VERSION) };
    ruleset.add_rule(PathBeneath::new(place, access))
}
