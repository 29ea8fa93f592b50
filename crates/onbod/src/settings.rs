//! What an operator may set of onbod.

use crate::{
    admission::{Limits, Policy},
    folder::Template,
};
use kit::{ASSISTANT_NAME, AnySetting, Setting, SettingError, Settings, WEB_HOST, parse};

/// What becomes of somebody who writes and has no route.
pub(crate) const ONBOARDING_POLICY: Setting<Policy> = Setting {
    name: "ONBOARDING_POLICY",
    default: "refuse",
    about: "What becomes of somebody who writes in a chat that no route takes: refused without a word, greeted with a \
            link by which they log in, or queued for an operator first.",
    expects: "refuse, greet or queue",
    parse: |text| text.parse().ok(),
};

/// What the greeting says before its link.
pub(crate) const ONBOARDING_GREETING: Setting<String> = Setting {
    name: "ONBOARDING_GREETING",
    default: "Hello! I do not know this chat yet. Open this link within ten minutes and log in, and it becomes yours:",
    about: "What a stranger is told, before the link.",
    expects: "1 to 1000 characters, none of them a control character",
    parse: |text| {
        let text = text.trim();
        let fits =
            (1..=1_000).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        fits.then(|| text.to_owned())
    },
};

/// How often one chat is greeted.
pub(crate) const ONBOARDING_GREETINGS_PER_CHAT: Setting<u32> = Setting {
    name: "ONBOARDING_GREETINGS_PER_CHAT",
    default: "3",
    about: "How often one chat is greeted, in all, as long as nobody uses the link.",
    expects: "a number from 1 to 100",
    parse: |text| parse::number(text).filter(|number| (1..=100).contains(number)),
};

/// How often strangers are greeted.
pub(crate) const ONBOARDING_GREETINGS_PER_HOUR: Setting<u32> = Setting {
    name: "ONBOARDING_GREETINGS_PER_HOUR",
    default: "60",
    about: "How many strangers the instance greets or puts into the queue within an hour; others are passed over.",
    expects: "a number from 1 to 100000",
    parse: |text| parse::number(text).filter(|number| (1..=100_000).contains(number)),
};

/// How many wait.
pub(crate) const ONBOARDING_QUEUE_MAX: Setting<u32> = Setting {
    name: "ONBOARDING_QUEUE_MAX",
    default: "1000",
    about: "How many wait in the queue at most; strangers beyond that are passed over.",
    expects: "a number from 1 to 100000",
    parse: |text| parse::number(text).filter(|number| (1..=100_000).contains(number)),
};

/// Where the folders of new people lie.
pub(crate) const ONBOARDING_FOLDER: Setting<Template> = Setting {
    name: "ONBOARDING_FOLDER",
    default: "people/{person}",
    about: "Where the folder of a new person is made; {person} is a name that nobody chooses.",
    expects: "a folder and {person} below it, such as people/{person}",
    parse: |text| text.parse().ok(),
};

/// The settings that onbod reads.
pub const SETTINGS: &[&dyn AnySetting] = &[
    &ONBOARDING_POLICY,
    &ONBOARDING_GREETING,
    &ONBOARDING_GREETINGS_PER_CHAT,
    &ONBOARDING_GREETINGS_PER_HOUR,
    &ONBOARDING_QUEUE_MAX,
    &ONBOARDING_FOLDER,
    &ASSISTANT_NAME,
    &WEB_HOST,
];

/// What was set, read once.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) greeting: String,
    pub(crate) template: Template,
    pub(crate) assistant: String,
    /// Empty where nobody said under which name people reach the edge.
    pub(crate) web_host: String,
}

impl Values {
    pub(crate) fn read(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self {
            policy: settings.get(&ONBOARDING_POLICY)?,
            limits: Limits {
                greetings_per_chat: settings.get(&ONBOARDING_GREETINGS_PER_CHAT)?,
                greetings_per_hour: settings.get(&ONBOARDING_GREETINGS_PER_HOUR)?,
                queue_max: settings.get(&ONBOARDING_QUEUE_MAX)?,
            },
            greeting: settings.get(&ONBOARDING_GREETING)?,
            template: settings.get(&ONBOARDING_FOLDER)?,
            assistant: settings.get(&ASSISTANT_NAME)?,
            web_host: settings.get(&WEB_HOST)?,
        })
    }
}
