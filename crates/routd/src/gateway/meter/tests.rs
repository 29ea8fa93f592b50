use super::*;
use proptest::prelude::*;

const ANTHROPIC: &str = "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":\
    {\"input_tokens\":25,\"cache_creation_input_tokens\":30,\"cache_read_input_tokens\":7,\"output_tokens\":1,\
    \"cache_creation\":{\"ephemeral_5m_input_tokens\":10,\"ephemeral_1h_input_tokens\":20}}}}\r\n\r\n\
    : ping\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\
    \"text\":\"Héllo \\n\\n data: {\"}}\n\n\
    event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\
    \"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

const CHAT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi \"}}],\"usage\":null}\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":4,\"total_tokens\":24,\
    \"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\ndata: [DONE]\n\n";

const RESPONSES: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n\
    event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"usage\":\
    {\"input_tokens\":36,\"input_tokens_details\":{\"cached_tokens\":6},\"output_tokens\":87}}}\n\n";

/// Reads an answer in these pieces; what is passed on, and what was counted.
fn read(vendor: Vendor, form: Form, whole: &str, cuts: &[usize]) -> (Vec<u8>, Meter) {
    let (mut reader, mut passed) = (Reader::new(vendor, form), Vec::new());
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (whole.len() + 1)).collect();
    cuts.extend([0, whole.len()]);
    cuts.sort_unstable();
    for piece in cuts.windows(2) {
        passed.extend(reader.take(Bytes::copy_from_slice(&whole.as_bytes()[piece[0]..piece[1]])));
    }
    passed.extend(reader.finish());
    (passed, reader.meter().clone())
}

fn tokens(input: u64, output: u64, cache_read: u64, write: u64, long: u64) -> Tokens {
    Tokens { input, output, cache_read, cache_write: write, cache_write_long: long }
}

proptest! {
    #[test]
    fn usage_is_read_alike_however_the_bytes_come(cuts in proptest::collection::vec(0usize..2_000, 0..40)) {
        let none = Tokens::default();
        let (passed, meter) = read(Vendor::Anthropic, Form::Events, ANTHROPIC, &cuts);
        prop_assert_eq!(passed, ANTHROPIC.as_bytes());
        prop_assert!(meter.is_final());
        prop_assert_eq!(meter.counted(&none), tokens(25, 15, 7, 30, 20));

        let (passed, meter) = read(Vendor::OpenAi, Form::Events, CHAT, &cuts);
        prop_assert_eq!(passed, CHAT.as_bytes());
        prop_assert_eq!(meter.counted(&none), tokens(12, 4, 8, 0, 0));

        // The client that has not asked for usage sees the same without that one event.
        let (passed, meter) = read(Vendor::OpenAi, Form::EventsWithoutUsage, CHAT, &cuts);
        let at = CHAT.find("data: {\"choices\":[],").unwrap();
        let without = [&CHAT[..at], "data: [DONE]\n\n"].concat();
        prop_assert_eq!(String::from_utf8(passed).unwrap(), without);
        prop_assert_eq!(meter.counted(&none), tokens(12, 4, 8, 0, 0));

        let (_, meter) = read(Vendor::OpenAi, Form::Events, RESPONSES, &cuts);
        prop_assert_eq!(meter.counted(&none), tokens(30, 87, 6, 0, 0));
    }

    #[test]
    fn rubbish_is_passed_on_and_counts_nothing(text in "(data|event|:|\\{|\\}|\n|\r|\"usage\"|[a-z0-9]){0,60}", cuts in proptest::collection::vec(0usize..200, 0..9)) {
        for vendor in [Vendor::Anthropic, Vendor::OpenAi] {
            for form in [Form::Events, Form::EventsWithoutUsage, Form::Whole] {
                let (passed, meter) = read(vendor, form, &text, &cuts);
                prop_assert_eq!(passed, text.as_bytes());
                prop_assert!(!meter.is_final());
            }
        }
    }

    #[test]
    fn an_answer_that_is_cut_is_counted_as_far_as_it_came(end in 0usize..2_000) {
        let set_aside = tokens(99, 1_000, 0, 0, 0);
        let end = end % ANTHROPIC.len();
        let end = (0..=end).rev().find(|at| ANTHROPIC.is_char_boundary(*at)).unwrap();
        let (_, meter) = read(Vendor::Anthropic, Form::Events, &ANTHROPIC[..end], &[]);
        let counted = meter.counted(&set_aside);
        let known = ANTHROPIC.find("\r\n\r\n").unwrap() + 4;
        prop_assert_eq!(counted.input, if end >= known { 25 } else { 99 });
        prop_assert!(counted.output <= 15, "{:?}", counted);
        let said = ANTHROPIC.find("event: message_delta").unwrap();
        if end >= said {
            // Seventeen bytes of text are six tokens.
            prop_assert!(counted.output >= 6, "{:?}", counted);
        }
    }
}

#[test]
fn an_answer_in_one_piece_is_read_at_its_end() {
    let none = Tokens::default();
    let body = r#"{"type":"message","usage":{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":null}}"#;
    let (passed, meter) = read(Vendor::Anthropic, Form::Whole, body, &[7]);
    assert_eq!((passed, meter.counted(&none)), (body.into(), tokens(3, 5, 0, 0, 0)));
    let body = r#"{"object":"response","usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5}}"#;
    let (_, meter) = read(Vendor::OpenAi, Form::Whole, body, &[1, 2, 3]);
    assert_eq!(meter.counted(&none), tokens(6, 5, 4, 0, 0));
    let body = r#"{"object":"list","data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    let (_, meter) = read(Vendor::OpenAi, Form::Whole, body, &[]);
    assert_eq!(meter.counted(&none), tokens(8, 0, 0, 0, 0));
    let set_aside = tokens(50, 9, 0, 0, 0);
    let (_, meter) = read(Vendor::OpenAi, Form::Whole, "<html>", &[]);
    assert_eq!(meter.counted(&set_aside), tokens(50, 0, 0, 0, 0), "what was not said is set aside");
}

#[test]
fn an_event_without_end_is_not_kept() {
    let mut reader = Reader::new(Vendor::OpenAi, Form::EventsWithoutUsage);
    let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
    let mut passed = 0;
    for _ in 0..40 {
        passed += reader.take(piece.clone()).len();
        assert!(reader.held.len() <= READ_MAX);
    }
    assert_eq!(passed + reader.finish().len(), 40 * piece.len(), "every byte is passed on");
}
