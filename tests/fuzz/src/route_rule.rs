//! Both sides of a route: a match as an operator writes it, and a target.

use crate::under::route::{
    pattern::{Pattern, Subject},
    target::Target,
};

pub fn check(data: &[u8]) {
    let (one, other) = crate::two(data);
    if let Ok(pattern) = Pattern::parse(&one) {
        // What is shown of it is the same match.
        assert_eq!(Pattern::parse(&pattern.to_string()).as_ref(), Ok(&pattern));
        let subject = Subject { chat_jid: &other, sender: &one, verb: "message" };
        let _why = pattern.refuses(&subject);
    }
    let Ok(target) = Target::parse(&one) else { return };
    for sender in [other.as_str(), "", "../..", "a/../../b"] {
        let folder = target.folder_of(sender).expect("what was accepted has a folder for all");
        assert!(target.base().contains(&folder), "{folder} is not below {}", target.base());
        assert_eq!(*target.base() != folder, target.is_per_person());
    }
}
