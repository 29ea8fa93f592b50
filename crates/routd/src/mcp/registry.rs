//! Every tool there is. A new group is a file with a `tools()`, and a line here.

use super::{delegate, files, memory, mend, reading, request, routing, talk, tasks, tool::Tool};
use std::sync::LazyLock;

static ALL: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    [
        talk::tools(),
        mend::tools(),
        files::tools(),
        reading::tools(),
        routing::tools(),
        delegate::tools(),
        memory::tools(),
        request::tools(),
        tasks::tools(),
    ]
    .into_iter()
    .flatten()
    .collect()
});

/// All of them, in the order in which they are listed.
pub(super) fn all() -> &'static [Tool] {
    &ALL
}

/// The one of this name.
pub(super) fn find(name: &str) -> Option<&'static Tool> {
    ALL.iter().find(|tool| tool.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_an_object_for_its_arguments_and_refuses_unknown_ones() {
        for tool in all() {
            let schema = tool.shown().input_schema;
            let name = tool.name;
            assert_eq!(schema.get("type").and_then(|v| v.as_str()), Some("object"), "{name}");
            let open = schema.get("additionalProperties").and_then(|v| v.as_bool());
            assert_eq!(open, Some(false), "{name}");
        }
    }

    #[test]
    fn no_two_tools_have_one_name() {
        let names: std::collections::BTreeSet<_> = all().iter().map(|tool| tool.name).collect();
        assert_eq!(names.len(), all().len());
    }
}
