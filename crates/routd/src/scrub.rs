//! Taking a secret out of an answer, in the forms in which servers give it back. Pure.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

/// What stands in its place.
const PLACE: &str = "[secret]";

/// The forms in which one secret could be in a text.
pub(crate) struct Scrub(Vec<String>);

impl Scrub {
    /// Scrubs one secret.
    pub(crate) fn of(secret: &str) -> Self {
        let bytes = secret.as_bytes();
        let percent: String = form_urlencoded::byte_serialize(bytes).collect();
        let json = serde_json::Value::from(secret).to_string();
        let mut forms = vec![
            secret.to_owned(),
            json.trim_matches('"').to_owned(),
            percent,
            hex::encode(bytes),
            hex::encode_upper(bytes),
            STANDARD.encode(bytes),
            STANDARD_NO_PAD.encode(bytes),
            URL_SAFE.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
        ];
        // The longest first, so that a shorter form leaves no rest of a longer one.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self(forms)
    }

    /// The text without it.
    pub(crate) fn apply(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for form in self.0.iter().filter(|form| clean_contains(text, form)) {
            clean = clean.replace(form.as_str(), PLACE);
        }
        clean
    }
}

fn clean_contains(text: &str, form: &str) -> bool {
    !form.is_empty() && text.contains(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_given_back_is_taken_out_in_every_form() {
        let secret = "s3cr3t+with/odd=\"chars\"";
        let scrub = Scrub::of(secret);
        for form in &scrub.0 {
            let clean = scrub.apply(&format!("before {form} after"));
            assert_eq!(clean, "before [secret] after", "{form}");
        }
        assert_eq!(scrub.apply("nothing of it"), "nothing of it");
    }
}
