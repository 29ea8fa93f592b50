//! What each daemon's own token lets it do: the one table.
//!
//! A daemon that acts for a person presents that person's rights, not more of its own: so `dashd` has next to none here.

use proto::Daemon;

use crate::scope::{Scope, scopes as s};

/// The scopes of `service:<daemon>`.
pub fn service_scopes(daemon: Daemon) -> &'static [Scope] {
    match daemon {
        // Answers; asks nobody.
        Daemon::Authd => const { &[] },
        // Shows, and does, with the rights of whoever is logged in. By itself it sees the state of secrets alone.
        Daemon::Dashd => const { &[s::SECRETS_READ, s::SESSIONS_ACT] },
        // Lets a new person in, which is one call of routd; says a line; and gives a person a link to their chat, with that
        // person's rights.
        Daemon::Onbod => const { &[s::PEOPLE_ADMIT, s::NOTICES_WRITE, s::SESSIONS_ACT] },
        // Asks whose session a cookie is before it lets a request through the edge.
        Daemon::Proxyd => const { &[s::SESSIONS_RESOLVE] },
        // Runs agents, has adapters send what they say, asks adapters for files and for what was said, and tells onbod
        // of strangers.
        Daemon::Routd => {
            const {
                &[
                    s::RUNS_WRITE,
                    s::RUNS_READ,
                    s::SEND_WRITE,
                    s::FILES_READ,
                    s::MESSAGES_READ,
                    s::ONBOARDING_TELL,
                ]
            }
        }
        // Asks what became of the turn that a run it found belongs to.
        Daemon::Runed => const { &[s::TURNS_READ] },
        Daemon::Slakd => const { &[s::CHANNELS_WRITE, s::MESSAGES_WRITE, s::FILES_READ] },
        Daemon::Teled => const { &[s::CHANNELS_WRITE, s::MESSAGES_WRITE, s::FILES_READ] },
        // Says when it is time; what is put in then is routd's own.
        Daemon::Timed => const { &[s::SCHEDULES_FIRE] },
        // The web is a channel like any other, and its pages are capability links.
        Daemon::Webd => {
            const {
                &[
                    s::MESSAGES_WRITE,
                    s::MESSAGES_READ,
                    s::FEED_READ,
                    s::FILES_READ,
                    s::LINKS_RESOLVE,
                    s::CHANNELS_WRITE,
                    s::GROUPS_READ,
                ]
            }
        }
    }
}

/// The scopes of a person's token for `audience`. They open endpoints, and no folder: which folders a person reaches is
/// for the ACL to say, and an endpoint that does not ask it must not be opened here.
pub fn person_scopes(audience: Daemon) -> &'static [Scope] {
    match audience {
        Daemon::Routd => {
            const {
                &[
                    s::MESSAGES_READ,
                    s::MESSAGES_WRITE,
                    s::CONVERSATIONS_READ,
                    s::TURNS_READ,
                    s::FEED_READ,
                    s::GROUPS_READ,
                    s::PERSONAS_WRITE,
                    s::ROUTES_READ,
                    s::TOKENS_READ,
                    s::TOKENS_WRITE,
                    s::SCHEDULES_READ,
                    s::SCHEDULES_WRITE,
                    s::ACL_READ,
                    s::ACL_WRITE,
                    s::USAGE_READ,
                    s::APPROVALS_READ,
                    s::APPROVALS_WRITE,
                ]
            }
        }
        _ => const { &[] },
    }
}

#[cfg(test)]
mod tests {
    use proto::Daemon;

    use super::{person_scopes, service_scopes};
    use crate::scope::{FULL, scopes};

    #[test]
    fn no_daemon_holds_more_than_named_scopes() {
        for daemon in Daemon::ALL {
            for scope in service_scopes(daemon) {
                assert!(scopes::ALL.contains(scope), "{daemon}: {scope}");
                assert_ne!(*scope, FULL, "{daemon}");
                // Only an operator ends an overlap.
                assert_ne!(*scope, scopes::SECRETS_WRITE, "{daemon}");
                // Only a person approves what an agent would do.
                assert_ne!(*scope, scopes::APPROVALS_WRITE, "{daemon}");
            }
        }
    }

    #[test]
    fn only_what_shows_pages_to_people_acts_for_them() {
        for daemon in Daemon::ALL {
            let acts = service_scopes(daemon).contains(&scopes::SESSIONS_ACT);
            assert_eq!(acts, matches!(daemon, Daemon::Dashd | Daemon::Onbod), "{daemon}");
        }
    }

    #[test]
    fn a_person_has_no_scope_whose_endpoints_do_not_ask_the_acl() {
        for daemon in Daemon::ALL {
            for scope in person_scopes(daemon) {
                assert_eq!(daemon, Daemon::Routd, "only routd keeps rights");
                for whole in ["audit:read", "status:read", "secrets:read", "tenant-secrets:write"] {
                    assert_ne!(scope.as_str(), whole);
                }
                assert_ne!(*scope, scopes::GROUPS_WRITE, "it chooses what program an agent is");
            }
        }
    }

    #[test]
    fn an_adapter_brings_messages_fetches_files_and_no_more() {
        for adapter in [Daemon::Teled, Daemon::Slakd] {
            let expected = [scopes::CHANNELS_WRITE, scopes::MESSAGES_WRITE, scopes::FILES_READ];
            assert_eq!(service_scopes(adapter), expected);
        }
    }
}
