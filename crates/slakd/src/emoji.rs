//! Emoji and Slack's names of them. Pure.

/// Where Slack's names differ from those that GitHub uses, which are most people's: theirs, and Slack's.
const OWN: &[(&str, &str)] = &[
    ("thinking", "thinking_face"),
    ("rofl", "rolling_on_the_floor_laughing"),
    ("hugs", "hugging_face"),
    ("hand_over_mouth", "face_with_hand_over_mouth"),
    ("vomiting_face", "face_vomiting"),
    ("roll_eyes", "face_with_rolling_eyes"),
    ("monocle_face", "face_with_monocle"),
    ("cowboy_hat_face", "face_with_cowboy_hat"),
    ("star_struck", "star-struck"),
    ("vulcan_salute", "spock-hand"),
    ("raised_eyebrow", "face_with_raised_eyebrow"),
    ("facepalm", "face_palm"),
];

/// What people see of a reaction that Slack calls `name`; `:name:` for one that only the workspace has.
pub(crate) fn shown(name: &str) -> String {
    let (base, tone) = name.split_once("::").unwrap_or((name, ""));
    let common = OWN.iter().find(|(_, own)| *own == base).map_or(base, |(common, _)| common);
    let Some(emoji) = emojis::get_by_shortcode(common) else { return format!(":{name}:") };
    let toned = skin_tone(tone).and_then(|tone| emoji.with_skin_tone(tone));
    toned.unwrap_or(emoji).as_str().to_owned()
}

/// What Slack calls an emoji, or a `:name:`. `None` for what is neither.
pub(crate) fn name(emoji: &str) -> Option<String> {
    let plain = |name: &str| {
        let fits = |c: char| c.is_alphanumeric() || "_-+:'".contains(c);
        (!name.is_empty() && name.len() <= 100 && name.chars().all(fits)).then(|| name.to_owned())
    };
    let emoji = emoji.trim();
    if let Some(name) = emoji.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')) {
        return plain(name);
    }
    let found = emojis::get(emoji)?;
    let common = found.shortcode().or_else(|| {
        let bare = found.with_skin_tone(emojis::SkinTone::Default)?;
        bare.shortcode()
    })?;
    let own = OWN.iter().find(|(theirs, _)| *theirs == common).map_or(common, |(_, own)| own);
    match found.skin_tone().and_then(tone_name) {
        Some(tone) => plain(&format!("{own}::{tone}")),
        None => plain(own),
    }
}

fn skin_tone(name: &str) -> Option<emojis::SkinTone> {
    use emojis::SkinTone as Tone;
    Some(match name {
        "skin-tone-2" => Tone::Light,
        "skin-tone-3" => Tone::MediumLight,
        "skin-tone-4" => Tone::Medium,
        "skin-tone-5" => Tone::MediumDark,
        "skin-tone-6" => Tone::Dark,
        _ => return None,
    })
}

fn tone_name(tone: emojis::SkinTone) -> Option<&'static str> {
    use emojis::SkinTone as Tone;
    Some(match tone {
        Tone::Light => "skin-tone-2",
        Tone::MediumLight => "skin-tone-3",
        Tone::Medium => "skin-tone-4",
        Tone::MediumDark => "skin-tone-5",
        Tone::Dark => "skin-tone-6",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emoji_and_its_name_lead_to_each_other() {
        for (emoji, slack) in [
            ("👍", "+1"),
            ("👍🏽", "+1::skin-tone-4"),
            ("🤔", "thinking_face"),
            ("🎉", "tada"),
            ("❤️", "heart"),
            ("✅", "white_check_mark"),
        ] {
            assert_eq!(name(emoji).as_deref(), Some(slack), "{emoji}");
            assert_eq!(shown(slack), emoji, "{slack}");
        }
        assert_eq!(shown("thumbsup"), "👍");
        assert_eq!(shown("party-parrot"), ":party-parrot:", "a workspace's own");
        assert_eq!(name(":party-parrot:").as_deref(), Some("party-parrot"));
        for bad in ["", "yes", "::", ":a b:", ":<x>:", "👍👍"] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_emoji_with_a_name_comes_back_as_itself() {
        let mut seen = 0;
        for emoji in emojis::iter().filter(|emoji| emoji.shortcode().is_some()) {
            let named = name(emoji.as_str()).unwrap();
            assert_eq!(shown(&named), emoji.as_str(), "{named}");
            seen += 1;
        }
        assert!(seen > 1_000, "{seen}");
    }
}
