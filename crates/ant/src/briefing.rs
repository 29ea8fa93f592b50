//! What a model is told before a turn: how to answer here, who it is, and which skills there are.
//!
//! The text is the same from turn to turn, so that a model's provider can keep it. What changes, such as the memory and
//! the time, is in the prompt.

use crate::Options;
use crate::beneath::Beneath;
use std::path::Path;

/// How to answer here.
const MANNERS: &str = include_str!("briefing/manners.md");
/// The last word of a model that has nothing more to say.
pub(crate) const SILENT: &str = "<silent/>";
/// Bytes of one persona.
const PERSONA_MAX: usize = 32 * 1024;
/// Skills that are named.
const SKILLS_MAX: usize = 64;
/// Bytes of a skill's file that are looked at for its description.
const HEAD_MAX: usize = 4 * 1024;
/// Characters of a description.
const ABOUT_MAX: usize = 300;

/// One skill, as it is named to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skill {
    name: String,
    about: String,
}

/// Reads personas and skills, and composes the text: who the agents of the instance are, who the folder's administrators
/// say that this one is (`folder`), and what is in its own home. What cannot be read is left out, and the log says so.
pub(crate) fn briefing(options: &Options, folder: Option<&str>) -> String {
    let home = directory(&options.home);
    let workspace = directory(&options.skills);
    let read = |place: &Option<Beneath>| {
        place.as_ref().and_then(|place| text(place, "persona.md", PERSONA_MAX))
    };
    let personas = [read(&workspace), folder.map(str::to_owned), read(&home)];
    let personas: Vec<String> = personas.into_iter().flatten().collect();
    let skills = workspace.as_ref().map(skills).unwrap_or_default();
    compose(&personas, &skills, &options.skills)
}

/// The directory of the skills, if it is there.
pub(crate) fn directory(path: &Path) -> Option<Beneath> {
    Beneath::open(path)
        .inspect_err(|error| {
            let error = error as &dyn std::error::Error;
            tracing::debug!(path = %path.display(), error, "nothing is read there");
        })
        .ok()
}

/// A text file beneath a directory, if it is there and can be read.
pub(crate) fn text(place: &Beneath, path: &str, most: usize) -> Option<String> {
    match place.read(path, most) {
        Ok(bytes) => bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            tracing::warn!(path, error = &error as &dyn std::error::Error, "not read");
            None
        }
    }
}

fn skills(workspace: &Beneath) -> Vec<Skill> {
    let names = workspace.directories("skills").unwrap_or_default();
    let named = names.into_iter().filter_map(|name| {
        let head = text(workspace, &format!("skills/{name}/SKILL.md"), HEAD_MAX)?;
        Some(Skill { about: about(&head), name })
    });
    named.take(SKILLS_MAX).collect()
}

/// A skill's description: from the head of its file between lines of three dashes, else its first line of text.
fn about(file: &str) -> String {
    let mut lines = file.lines().map(str::trim);
    let found = match lines.next() {
        Some("---") => lines
            .take_while(|line| *line != "---")
            .find_map(|line| line.strip_prefix("description:"))
            .map(|text| text.trim().trim_matches(['"', '\''])),
        first => first
            .into_iter()
            .chain(lines)
            .map(|line| line.trim_start_matches('#').trim())
            .find(|line| !line.is_empty()),
    };
    found.unwrap_or_default().chars().take(ABOUT_MAX).collect()
}

fn compose(personas: &[String], skills: &[Skill], place: &Path) -> String {
    let mut out = MANNERS.trim_end().to_owned();
    for persona in personas.iter().map(|persona| persona.trim()).filter(|text| !text.is_empty()) {
        out.push_str("\n\n# Who you are\n\n");
        out.push_str(persona);
    }
    if !skills.is_empty() {
        let place = place.display();
        out.push_str(&format!(
            "\n\n# Skills\n\nEach is a directory `{place}/skills/NAME` with a file `SKILL.md`. Read that file before \
             you do what the skill is for.\n"
        ));
        for Skill { name, about } in skills {
            out.push_str(&format!("\n- {name}: {about}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skill_is_named_with_its_description() {
        assert_eq!(
            about("---\nname: x\ndescription: \"Greets people\"\n---\n# X\n"),
            "Greets people"
        );
        assert_eq!(about("\n# How to greet\n\ntext"), "How to greet");
        assert_eq!(about("---\nname: x\n---\ndescription: no"), "");
        assert_eq!(about(&"é".repeat(1_000)).chars().count(), ABOUT_MAX);
    }

    #[test]
    fn a_briefing_has_the_manners_the_personas_and_the_skills_and_no_links() {
        let place = tempfile::tempdir().unwrap();
        let (home, workspace) = (place.path().join("home"), place.path().join("workspace"));
        std::fs::create_dir_all(workspace.join("skills/greet")).unwrap();
        std::fs::create_dir_all(workspace.join("skills/empty")).unwrap();
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(workspace.join("skills/greet/SKILL.md"), "# Greets").unwrap();
        std::fs::write(workspace.join("persona.md"), "You are Ann.").unwrap();
        std::fs::write(place.path().join("secret"), "nobody should read this").unwrap();
        std::os::unix::fs::symlink("../secret", home.join("persona.md")).unwrap();
        let options = Options { skills: workspace.clone(), ..Options::new("/t", &home) };
        let told = briefing(&options, Some("You like the sea.\n"));
        assert!(told.starts_with(MANNERS.lines().next().unwrap()), "{told}");
        let who = "# Who you are\n\nYou are Ann.\n\n# Who you are\n\nYou like the sea.\n";
        assert!(told.contains(who) && told.contains("- greet: Greets"), "{told}");
        assert!(!told.contains("nobody") && !told.contains("empty"), "{told}");
        assert_eq!(
            told,
            briefing(&options, Some("You like the sea.")),
            "the same from turn to turn"
        );
    }
}
