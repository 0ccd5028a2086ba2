//! Templates that demand more than the limits allow. Each ends with an error, on a small stack and after limited work.

use super::super::*;

const STACK: usize = 256 << 10;

/// Renders on a thread with a small stack, like a component's. Without thread support, renders on this one.
fn on_small_stack(template: String, variables: Option<String>) -> Result<String> {
    let run = move || {
        let options = ChatOptions {
            origin: Origin::Caller,
            add_generation_prompt: true,
            bos_token: None,
            eos_token: None,
            tools: None,
            variables: variables.as_deref(),
            clock: Clock::Default,
        };
        render(&template, &[], &options).map(|rendered| rendered.text)
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    match thread.spawn(run.clone()) {
        Ok(thread) => thread.join().expect("no panic"),
        Err(_) => run(),
    }
}

/// No template overflows the stack, panics, or takes more time or memory than the limits allow; most are errors.
#[test]
fn hostile_templates_end() {
    let nest = |body: &str, n: usize| {
        format!(
            "{{% set ns = namespace(x=[], y=[]) %}}{{% for i in range({n}) %}}{body}{{% endfor %}}"
        )
    };
    let templates: Vec<(&str, String)> = vec![
        ("sum", format!("{{{{ 1{} }}}}", "+1".repeat(127))),
        ("not", format!("{{{{ {}x }}}}", "not ".repeat(127))),
        ("minus", format!("{{{{ {}1 }}}}", "-".repeat(127))),
        ("parens", format!("{{{{ {}1{} }}}}", "(".repeat(24), ")".repeat(24))),
        ("parens max", format!("{{{{ {}1{} }}}}", "(".repeat(127), ")".repeat(127))),
        ("lists", format!("{{{{ {}1{} }}}}", "[".repeat(24), "]".repeat(24))),
        ("maps", format!("{{{{ {}1{} }}}}", "{'a':".repeat(24), "}".repeat(24))),
        ("index", format!("{{{{ x{} }}}}", "[0]".repeat(127))),
        ("calls", format!("{{{{ range{} }}}}", "()".repeat(127))),
        ("nested calls", format!("{{{{ {}1{} }}}}", "range(".repeat(24), ")".repeat(24))),
        ("filters", format!("{{{{ x{} }}}}", "|string".repeat(127))),
        ("dots", format!("{{{{ x{} }}}}", ".a".repeat(127))),
        ("ternary", format!("{{{{ {}1 }}}}", "1 if 0 else ".repeat(63))),
        ("pow", format!("{{{{ 1{} }}}}", "**1".repeat(127))),
        ("ifs", format!("{}x{}", "{% if 1 %}".repeat(64), "{% endif %}".repeat(64))),
        ("fors", format!("{}x{}", "{% for i in [1] %}".repeat(64), "{% endfor %}".repeat(64))),
        ("macros", format!("{}x{}", "{% macro m() %}".repeat(64), "{% endmacro %}".repeat(64))),
        ("filterblocks", format!("{}x{}", "{% filter upper %}".repeat(64), "{% endfilter %}".repeat(64))),
        ("sets", format!("{}x{}", "{% set a %}".repeat(64), "{% endset %}".repeat(64))),
        ("calls blocks", format!("{{% macro m() %}}{{{{ caller() }}}}{{% endmacro %}}{}x{}", "{% call m() %}".repeat(64), "{% endcall %}".repeat(64))),
        ("elifs", format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(63))),
        ("both", format!("{}{{{{ {}1{} }}}}{}", "{% for i in [1] %}".repeat(64), "range(-".repeat(23), ")".repeat(23), "{% endfor %}".repeat(64))),
        ("macro recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".into()),
        ("macro recursion in filter", "{% macro m() %}{{ [1]|map('string')|list|join(m()) }}{% endmacro %}{{ m() }}".into()),
        ("caller recursion", "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}".into()),
        ("loop recursion", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}".into()),
        ("nested value 1000", nest("{% set ns.x = [ns.x] %}", 1000)),
        ("nested value 10000", nest("{% set ns.x = [ns.x] %}", 10000)),
        ("nested value 100000", nest("{% set ns.x = [ns.x] %}", 100000)),
        ("nested map", nest("{% set ns.x = {'a': ns.x} %}", 10000)),
        ("print nested", nest("{% set ns.x = [ns.x] %}", 1000) + "{{ ns.x }}"),
        ("json nested", nest("{% set ns.x = [ns.x] %}", 1000) + "{{ ns.x|tojson }}"),
        ("compare nested", nest("{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}", 1000) + "{{ ns.x == ns.y }}"),
        ("key nested", nest("{% set ns.x = [ns.x] %}", 1000) + "{{ {ns.x: 1} }}"),
        ("print dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x }}"),
        ("string dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x|string|length }}"),
        ("concat dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x ~ 'a' }}"),
        ("json dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x|tojson }}"),
        ("compare dag", nest("{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}", 50) + "{{ ns.x == ns.y }}"),
        ("sort dag", nest("{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}", 50) + "{{ [ns.x, ns.y]|sort }}"),
        ("unique dag", nest("{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}", 50) + "{{ [ns.x, ns.y]|unique|list|length }}"),
        ("in dag", nest("{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}", 50) + "{{ ns.x in [ns.y] }}"),
        ("key dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ {ns.x: 1}|length }}"),
        ("get dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ {'a': 1}[ns.x] }}"),
        ("get method dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ {'a': 1}.get(ns.x) }}"),
        ("join dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ [ns.x]|join }}"),
        ("join method dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ''.join([ns.x]) }}"),
        ("format dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ '%s'|format(ns.x) }}"),
        ("format method dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ '{}'.format(ns.x) }}"),
        ("count dag", nest("{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}", 50) + "{{ [ns.x].count(ns.y) }}"),
        ("replace", "{% set a = 'x' * 1000000 %}{{ a.replace('x', a)|length }}".into()),
        ("replace empty", "{% set a = 'x' * 1000000 %}{{ a.replace('', a)|length }}".into()),
        ("replace filter", "{% set a = 'x' * 1000000 %}{{ (a|replace('x', a))|length }}".into()),
        ("join big", "{% set a = 'x' * 1000000 %}{{ a.join(a)|length }}".into()),
        ("join filter", "{% set a = 'x' * 1000000 %}{{ (a|join(a))|length }}".into()),
        ("wide", "{{ '%1000000000d'|format(1) }}".into()),
        ("wide method", "{{ '{:1000000000}'.format(1) }}".into()),
        ("precise", "{{ '%.1000000000f'|format(1.5) }}".into()),
        ("star", "{{ '%*d'|format(1000000000, 1) }}".into()),
        ("indent", "{{ 'a'|indent(1000000000) }}".into()),
        ("indent json", "{{ [1]|tojson(indent=1000000000) }}".into()),
        ("pow big", "{{ 9 ** 9 ** 9 }}".into()),
        ("repeat", "{{ 'a' * 10000000000 }}".into()),
        ("repeat list", "{{ [1] * 10000000000 }}".into()),
        ("range", "{{ range(1000000000)|list }}".into()),
        ("range sum", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}".into()),
        ("doubling", nest("{% set ns.x = ns.x ~ ns.x ~ 'aaaaaaaaaaaa' %}", 100)),
        ("batch", "{{ [1]|batch(1000000000, 0)|list|length }}".into()),
        ("slice", "{{ [1]|slice(1000000000)|list|length }}".into()),
        ("output", "{% set a = 'x' * 100000 %}{% for i in range(1000) %}{{ a }}{% endfor %}".into()),
        ("include", "{% include '<string>' %}".into()),
        ("extends", "{% extends 'x' %}".into()),
        ("import", "{% from 'x' import y %}".into()),
        ("block", "{% block a %}{{ self.a() }}{% endblock %}".into()),
        ("round", "{{ 1.5|round(1000000000) }}".into()),
        ("upper chain", "{% set a = 'ŉ' * 100000 %}{{ a|upper|length }}".into()),
        ("debug", "{{ debug() }}".into()),
        ("dictsort dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ {'a': ns.x, 'b': ns.x}|dictsort(by='value') }}"),
        ("groupby dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ [{'a': ns.x}, {'a': ns.x}]|groupby('a')|list|length }}"),
        ("max dag", nest("{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}", 50) + "{{ [ns.x, ns.y]|max|length }}"),
        ("pprint dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x|pprint }}"),
        ("lines dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x|lines }}"),
        ("raise dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ raise_exception(ns.x) }}"),
        ("time dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ strftime_now(ns.x) }}"),
        ("changed dag", nest("{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}", 50) + "{% for i in [1,2] %}{{ loop.changed(ns.x if i == 1 else ns.y) }}{% endfor %}"),
        ("dump error dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x + 1 }}"),
        ("undefined call", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ nope(ns.x) }}"),
        ("filter unknown", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x|nope }}"),
        ("int dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x|int }}"),
        ("attr dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ {}|attr(ns.x) }}"),
        ("map dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ [{}]|map(attribute=ns.x)|list }}"),
        ("replace dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x|replace('a', 'b') }}"),
        ("safe dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x|safe|length }}"),
        ("upper dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x|upper }}"),
        ("urlencode dag", nest("{% set ns.x = [ns.x, ns.x] %}", 50) + "{{ ns.x|escape }}"),
        ("zip", nest("{% set ns.x = ns.x|zip(ns.x) %}", 50) + "{{ ns.x|list }}"),
        ("chain", nest("{% set ns.x = (ns.x|chain(ns.x)) %}", 5000) + "{{ ns.x|list }}"),
        ("lazy map", nest("{% set ns.x = (ns.x|map('string')) %}", 5000) + "{{ ns.x|list }}"),
        ("lazy items", nest("{% set ns.x = (ns.x|reverse) %}", 5000) + "{{ ns.x|list }}"),
        ("lazy slices", nest("{% set ns.x = ns.x[0:] %}", 5000) + "{{ ns.x|list }}"),
        ("lazy concat", nest("{% set ns.x = ns.x + [1] %}", 5000) + "{{ ns.x|length }}"),
        ("closures", nest("{% macro m() %}{{ ns.x }}{% endmacro %}{% set ns.x = m %}", 5000)),
        ("namespaces", nest("{% set ns.x = namespace(a=ns.x) %}", 5000)),
        ("self namespace", "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".into()),
        ("self namespace json", "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns|tojson }}".into()),
        ("self namespace eq", "{% set ns = namespace() %}{% set ns.x = ns %}{% set n2 = namespace() %}{% set n2.x = n2 %}{{ ns == n2 }}".into()),
    ];
    assert!(templates.len() > 100);
    for (name, template) in templates {
        match on_small_stack(template, None) {
            Ok(text) => assert!(text.len() < 100_000, "{name}: {} bytes", text.len()),
            Err(Error::InvalidArgument(_)) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn deep_variables_are_refused() {
    for (depth, fits) in [(40, true), (60, false), (120, false), (100_000, false)] {
        let variables = format!("{{\"x\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        let found = on_small_stack("{{ x }}".into(), Some(variables));
        assert_eq!(found.is_ok(), fits, "{depth}: {found:?}");
        if let Err(error) = found {
            assert!(
                error
                    .to_string()
                    .starts_with("invalid argument: variables: "),
                "{error}"
            );
        }
    }
}

#[test]
fn values_beyond_the_limits_are_named() {
    let found = |template: &str| {
        on_small_stack(template.into(), None)
            .expect_err(template)
            .to_string()
    };
    let expected = "invalid argument: chat template: expected a Jinja2 template that this engine can render, found invalid \
                    operation: ";
    let nested = "{% set ns = namespace(x=[]) %}\n{% for i in range(60) %}{% set ns.x = [ns.x] %}{% endfor %}";
    assert_eq!(
        found(nested),
        format!("{expected}lists and maps are nested more than 48 levels deep in line 2")
    );
    let doubled = nested.replace("[ns.x]", "[ns.x, ns.x]");
    assert_eq!(
        found(&doubled),
        format!("{expected}a value is too large in line 2")
    );
    let own = "{% set ns = namespace() %}{% set ns.x = ns %}";
    assert_eq!(
        found(own),
        format!("{expected}a value contains a namespace, loop or macro in line 1")
    );
    assert_eq!(
        found("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
        "invalid argument: chat template: expected a template of at most 1000000 steps, found engine ran out of fuel in line 1"
    );
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(40), ")".repeat(40));
    assert!(found(&deep).ends_with("brackets are nested more than 24 levels deep in line 1"));
    let sum = format!("\n{{{{ 1{} }}}}", "+1".repeat(100_000));
    assert!(found(&sum).ends_with("an expression has more than 128 operators in a row in line 2"));
    let elifs = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(10_000));
    assert!(found(&elifs).ends_with("statements are nested more than 64 levels deep in line 1"));
    let macros = "{% macro m() %}{% endmacro %}".repeat(200);
    assert!(found(&macros).ends_with("there are more than 100 macros in line 1"));
}

/// A template cut off anywhere gives an error or a text, never a panic.
#[test]
fn cut_templates_do_not_panic() {
    let template = "{%- macro m(a, b='x') -%}{{ a|tojson(indent=2) }}{% raw %}{{{% endraw %}{%- endmacro -%}\
                    {% for k, v in {'a': [1, (2,), \"é\"]}.items() if not k is none %}{{ m(v[0:-1], b=k ~ 'y') }}\
                    {% generation %}{# c #}{% set ns = namespace(x=1) %}{% set ns.x = 2 ** 3 // 1 %}{% endgeneration %}\
                    {% elif %}{% endfor %}";
    for (end, _) in template.char_indices() {
        for start in [0, end / 2, end] {
            if template.is_char_boundary(start) {
                let _ = on_small_stack(template[start..].into(), None);
                let _ = on_small_stack(template[..end].into(), None);
            }
        }
    }
}
