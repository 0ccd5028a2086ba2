//! Who wrote what: small templates, with the text from outside in brackets.

use super::cases::rendered_from;

/// The variables of the tests: everything is from outside, except for `bos_token`.
const DATA: &str = r#"{
    "x": "hi", "pad": "  hi  ", "think": "<think>a</think> b", "role": "user", "odd": "im_end",
    "name": "<|im_end|>", "list": ["a", "b"], "map": {"<k>": "<v>"}, "n": 7, "icon": "\udb80\udc00!",
    "messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
}"#;

/// The text, with what is from outside in brackets.
fn spelled(template: &str) -> String {
    let rendered = rendered_from(template, DATA, &[("bos_token", "<s>")]);
    let rendered = rendered.unwrap_or_else(|error| panic!("{template}: {error}"));
    let (mut spelled, mut at) = (String::new(), 0);
    let end = rendered.text.len();
    for range in rendered
        .template
        .iter()
        .cloned()
        .chain(std::iter::once(end..end))
    {
        if at < range.start {
            spelled += &format!("⟦{}⟧", &rendered.text[at..range.start]);
        }
        spelled += &rendered.text[range.clone()];
        at = range.end;
    }
    spelled
}

#[test]
fn each_character_is_known_to_be_the_template_s_or_not() {
    let cases = [
        ("<a>{{ x }}</a>", "<a>⟦hi⟧</a>"),
        ("{{ bos_token }}{{ '<a>' + x ~ '</a>' }}", "<s><a>⟦hi⟧</a>"),
        ("{{ ('<a>' ~ pad)|trim }}|{{ pad|trim }}", "<a>⟦  hi⟧|⟦hi⟧"),
        (
            "{% macro m(y) %} <a>{{ y }} {% endmacro %}{{ m(x)|trim }}{{ m(x).strip() }}",
            "<a>⟦hi⟧<a>⟦hi⟧",
        ),
        (
            "{% macro m(y, z='<z>') %}{{ y }}{{ z }}{% endmacro %}{{ m(x) }}{{ m('<y>', z=x) }}",
            "⟦hi⟧<z><y>⟦hi⟧",
        ),
        ("{% set y %}<a>{{ x }}{% endset %}{{ y }}", "<a>⟦hi⟧"),
        ("{% filter trim %}  <a>{{ x }}  {% endfilter %}", "<a>⟦hi⟧"),
        (
            "{% filter upper %}<a>{{ x }}{% endfilter %}{{ '<a>'|upper }}",
            "⟦<A>HI⟧<A>",
        ),
        // Splitting and cutting.
        ("{{ think.split('</think>')[-1] }}", "⟦ b⟧"),
        (
            "{{ think.split('</think>')[0].split('<think>')|last }}",
            "⟦a⟧",
        ),
        (
            "{% set y = '<a>' ~ x ~ '</a>' ~ x %}{{ y.split('</a>')|join('<b>') }}",
            "<a>⟦hi⟧<b>⟦hi⟧",
        ),
        (
            "{% set y = '<a>' ~ x ~ '</a>' ~ x %}{{ y.split(x)|join('|') }}",
            "<a>|</a>|",
        ),
        ("{{ ('a ' ~ x ~ '  c').split()|join('+') }}", "a+⟦hi⟧+c"),
        (
            "{{ ('a,' ~ x ~ ',c').rsplit(',', 1)|join('+') }}",
            "a,⟦hi⟧+c",
        ),
        (
            "{{ ('a,' ~ x ~ ',c').partition(',')|join('+') }}",
            "a+,+⟦hi⟧,c",
        ),
        (
            "{{ ('a,' ~ x ~ ',c').rpartition(',')|join('+') }}",
            "a,⟦hi⟧+,+c",
        ),
        (
            "{{ ('<a>' ~ x).removeprefix('<a>') }}{{ (x ~ '<a>').removesuffix('<a>') }}",
            "⟦hihi⟧",
        ),
        (
            "{{ ('<a>' ~ x)[1:4] }}{{ ('<a>' ~ x)[-1] }}{{ ('<a>' ~ x)|first }}",
            "a>⟦hi⟧<",
        ),
        (
            "{{ ('é<a>' ~ x ~ '漢').lstrip('é<') }}{{ (x ~ '漢').rstrip('漢') }}",
            "a>⟦hi⟧漢⟦hi⟧",
        ),
        (
            "{{ ('<a>' ~ x).replace('<a>', '<b>') }}{{ ('<a>' ~ x)|replace('hi', '<c>') }}",
            "<b>⟦hi⟧<a><c>",
        ),
        ("{{ think.replace('<think>', '<t>') }}", "<t>⟦a</think> b⟧"),
        ("{{ '<a>'.replace('a', name) }}", "<⟦<|im_end|>⟧>"),
        (
            "{{ ('<a>\n' ~ x ~ '\n\n')|indent(2, first=true) }}",
            "  <a>\n  ⟦hi⟧\n\n",
        ),
        (
            "{{ '<a>'|safe + name }}{{ (name + '<b>'|safe)|string }}",
            "<a>⟦&lt;|im_end|&gt;&lt;|im_end|&gt;⟧<b>",
        ),
        // Putting together.
        (
            "{{ '<a{}>'.format(x) }}{{ '<%s>'|format(x) }}{{ '<{}>'.format('a') }}",
            "<a⟦hi⟧><⟦hi⟧><a>",
        ),
        (
            "{{ '<{y:>4}>'.format(y=x) }}{{ '%d%%|%5s'|format(n, x) }}",
            "<⟦  hi⟧>⟦7%⟧|⟦   hi⟧",
        ),
        (
            "{{ ['<a>', x, 1]|join('<b>') }}{{ '<c>'.join(list) }}",
            "<a><b>⟦hi⟧<b>⟦1a⟧<c>⟦b⟧",
        ),
        ("{{ '<a>' * 2 }}{{ ['<a>'] * 2 }}", "<a><a>⟦['<a>', '<a>']⟧"),
        (
            "{% set ns = namespace(y='<a>') %}{{ ns.y }}{% set ns.y = ns.y ~ x %}{{ ns.y }}",
            "<a><a>⟦hi⟧",
        ),
        (
            "{{ {'k': '<a>'}.k }}{{ {'k': '<a>'}['k'] }}{{ {'k': '<a>'}.get('k') }}{{ dict(k='<a>').k }}",
            "<a><a><a><a>",
        ),
        (
            "{% for k, v in {'<k>': '<a>'}.items() %}{{ k }}{{ v }}{% endfor %}",
            "⟦<k>⟧<a>",
        ),
        (
            "{{ nope|default('<a>') }}{{ x|default('<a>') }}{{ '<a>' if x else '<b>' }}",
            "<a>⟦hi⟧<a>",
        ),
        (
            "{% for y in ['<a>', x] %}{{ loop.cycle('<c>', x) }}{{ y }}{% endfor %}",
            "<c><a>⟦hihi⟧",
        ),
        (
            "{% for m in [{'c': '<a>'}, {'c': x}]|map(attribute='c') %}{{ m }}{% endfor %}",
            "<a>⟦hi⟧",
        ),
        (
            "{{ '<a>'|attr('nope') }}{{ ('<a>'|list)[1] }}{{ '<a>'|string }}{{ x|string }}",
            "a<a>⟦hi⟧",
        ),
        // Printing.
        (
            "{{ ['<a>', x]|tojson }}{{ {'a': '<a>'} }}",
            "⟦[\"<a>\", \"hi\"]{'a': '<a>'}⟧",
        ),
        (
            "{{ ['it\\'s'] }}{{ ['<a>'] ~ '<b>' }}{{ '<a>'|tojson }}",
            "⟦[\"it's\"]⟧['<a>']<b>\"<a>\"",
        ),
        ("{{ map }}{{ n }}{{ map['<k>'] }}", "⟦{'<k>': '<v>'}7<v>⟧"),
        // Names of roles are part of the template's names; other roles are not.
        ("<|{{ role }}|><|{{ odd }}|>", "<|user|><|⟦im_end⟧|>"),
        ("{{ role }}|>{{ role }}", "⟦user⟧|>⟦user⟧"),
        // Private-use characters mean themselves.
        (
            "{{ icon }}<a>{{ icon[0] }}\u{f0001}{{ '\u{f0001}' == icon[0] }}",
            "⟦\u{f0000}!⟧<a>⟦\u{f0000}⟧\u{f0001}⟦False⟧",
        ),
    ];
    for (template, expected) in cases {
        assert_eq!(spelled(template), expected, "{template}");
    }
}

/// Whatever is compared, looked up or counted is seen as it is written.
#[test]
fn marks_change_nothing_that_a_template_computes() {
    let cases = [
        ("x == 'hi'", "True"),
        ("'hi' != x", "False"),
        ("'a' < x < 'z'", "True"),
        ("'</think>' in think", "True"),
        ("'</b>' not in think", "True"),
        ("x in ['ho', 'hi']", "True"),
        ("x in ('hi',)", "True"),
        ("role in {'user': 1}", "True"),
        ("{x: '<a>'}['hi']", "<a>"),
        ("{'hi': '<a>'}[x]", "<a>"),
        ("{'a' ~ 'b': 1}.ab", "1"),
        ("messages[0]['ro' ~ 'le']", "user"),
        ("['hi', x, 'ho']|unique|list|length", "2"),
        (
            "(messages|selectattr('role', 'equalto', 'user')|list)[0].content",
            "one",
        ),
        (
            "messages|selectattr('role', 'in', ['assistant'])|map(attribute='content')|list",
            "['two']",
        ),
        ("messages|rejectattr('role', '==', 'user')|list|length", "1"),
        ("['b', 'a', x]|sort|join(',')", "a,b,hi"),
        ("['b', 'a']|max", "b"),
        ("'<a>hi'.startswith('<a>' ~ x)", "True"),
        ("('<a>' ~ x).endswith(('hi', '<b>'))", "True"),
        ("('<a>' ~ x).find(x)", "3"),
        ("['hi', '<a>'].index(x)", "0"),
        ("[x, '<a>', 'hi'].count('hi')", "2"),
        ("('<a>' ~ x)|length", "5"),
        ("'ABC' is upper", "True"),
        ("('a' ~ x) is startingwith('ah')", "True"),
        ("'5'|int + 1", "6"),
        ("'abc'.isalpha()", "True"),
        ("'  ' ~ '\\n'|trim", "  "),
        ("('é' ~ x)|capitalize", "Éhi"),
        ("('<a b=\"' ~ x ~ '\">')|tojson", "\"<a b=\\\"hi\\\">\""),
        ("'a\\nb'|indent(2)", "a\n  b"),
        ("'a\\n\\nb\\n'|indent('> ', blank=true)", "a\n> \n> b\n> "),
        ("'a\\r\\nb'|indent(width=1, first=true)", " a\n b"),
        ("none is iterable", "False"),
        ("none|default('x') is none", "True"),
        ("nope|default(none) is none", "True"),
        ("'<'|safe + '>' + '<'", "<&gt;&lt;"),
        ("'<' + 1|string|safe + ['<'][0]", "&lt;1&lt;"),
        ("'<' ~ '>'|safe ~ '<'", "<><"),
        ("1 + 2 + (3|safe|int)", "6"),
        ("('x' ~ 'y')|replace('y', 'z', 1)", "xz"),
        ("'x'|default('y', boolean=true)", "x"),
        ("[{'a': 'x'}, {'a': x}]|groupby('a')|length", "2"),
        ("{'b': 'x', 'a': 'y'}|dictsort|first|first", "a"),
        ("namespace(a='<a>') is defined", "True"),
        ("namespace(a='<a>')|tojson", "{\"a\": \"<a>\"}"),
        ("{'b': 'x', 'a': 'w'}|dictsort(by='value')|first|first", "a"),
        ("'%c'|format('a')", "a"),
        ("'a b'|title", "A B"),
        ("('x,y' ~ ',z').split(',', 1)|length", "2"),
        ("('a\\n' ~ x).splitlines()|join('|')", "a|hi"),
        ("'' or '<a>'", "<a>"),
    ];
    for (expression, expected) in cases {
        let template = format!("{{{{ {expression} }}}}");
        let found = rendered_from(&template, DATA, &[]).map(|rendered| rendered.text);
        assert_eq!(found.as_deref(), Ok(expected), "{expression}");
    }
}

/// Errors show the template's text as it is written.
#[test]
fn errors_have_no_marks() {
    for template in [
        "{{ raise_exception('no <a>: ' ~ x) }}",
        "{{ 'x' + 1 }}",
        "{{ 'x'|int(base='y') }}",
        "{{ ['a'].index('b') }}",
        "{{ ''.join([['a']]) }}",
        "{{ 'x'|nope }}",
        "{{ strftime_now('%Q') }}",
    ] {
        let error = rendered_from(template, DATA, &[]).expect_err(template);
        let message = error.to_string();
        assert!(message.chars().all(|c| c < '\u{e000}'), "{message:?}");
    }
    let error = rendered_from("{{ raise_exception('no <a>: ' ~ x) }}", DATA, &[]);
    assert!(error.is_err_and(|error| error.to_string().ends_with("no <a>: hi")));
}

/// There are marks for every template, unless the data takes them all.
#[test]
fn data_that_takes_all_private_use_characters_is_refused() {
    let some: String = ('\u{f0000}'..='\u{f1fff}').collect();
    let all: String = ('\u{f0000}'..='\u{10fffd}').collect();
    let with = |text: &str| {
        let data = serde_json::json!({ "x": text }).to_string();
        rendered_from("<a>{{ x|trim }}</a>", &data, &[])
    };
    let rendered = with(&some).expect("a text");
    assert_eq!(rendered.text, format!("<a>{some}</a>"));
    assert_eq!(rendered.template.len(), 2);
    let error = with(&all).expect_err("no marks are left").to_string();
    assert!(error.contains("private-use"), "{error}");
}
