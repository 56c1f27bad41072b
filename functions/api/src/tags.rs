//! Tags as parameters: `tags=region:eu,path:/a\,b`, `groupBy=region,path`.

use crate::Params;

/// Tags that one request filters by at most, and that it groups by.
const MOST: usize = 16;

impl Params {
    /// Names and values of tags: `name:value` pairs with commas between them. A backslash takes the next character
    /// as it is: commas in both and colons in names need one.
    pub fn tags(&mut self, name: &'static str) -> Vec<(String, String)> {
        let read = self.text(name).map(|text| split(&text, true)).unwrap_or(Some(Vec::new()));
        let pair = |parts: Vec<String>| <[String; 2]>::try_from(parts).ok().map(|[name, value]| (name, value));
        let tags: Option<Vec<_>> = read.and_then(|pairs| pairs.into_iter().map(pair).collect());
        tags.filter(|tags| tags.len() <= MOST).unwrap_or_else(|| {
            self.refuse(name, format!("takes up to {MOST} pairs as `name:value,name:value`; `\\,` is a comma"));
            Vec::new()
        })
    }

    /// Names of tags with commas between them; a backslash takes the next character as it is.
    pub fn tag_names(&mut self, name: &'static str) -> Vec<String> {
        let read = self.text(name).map(|text| split(&text, false)).unwrap_or(Some(Vec::new()));
        let names: Option<Vec<String>> = read.map(|names| names.into_iter().flatten().collect());
        let is_twice = |names: &[String]| names.iter().enumerate().any(|(at, n)| names.iter().take(at).any(|m| m == n));
        names.filter(|names| names.len() <= MOST && !is_twice(names)).unwrap_or_else(|| {
            self.refuse(name, format!("takes up to {MOST} different names of tags with commas between them"));
            Vec::new()
        })
    }
}

/// Texts with commas between them, each of which a first colon may part; `None` if the last backslash has nothing
/// to take.
fn split(text: &str, by_colon: bool) -> Option<Vec<Vec<String>>> {
    let (mut all, mut parts, mut part) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => part.push(chars.next()?),
            ',' => {
                parts.push(std::mem::take(&mut part));
                all.push(std::mem::take(&mut parts));
            }
            ':' if by_colon && parts.is_empty() => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    parts.push(part);
    all.push(parts);
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(name: &str, text: &str) -> Params {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair(name, text).finish();
        Params::read("/", &query, 0).unwrap()
    }

    fn tags(text: &str) -> Option<Vec<(String, String)>> {
        let mut params = params("tags", text);
        let tags = params.tags("tags");
        params.finish().is_ok().then_some(tags)
    }

    #[test]
    fn tags_are_pairs() {
        let pairs = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(tags(""), pairs(&[]));
        assert_eq!(tags("a:b"), pairs(&[("a", "b")]));
        assert_eq!(tags("a:b,c:"), pairs(&[("a", "b"), ("c", "")]));
        assert_eq!(tags(r"url:http://x\,y,a\:b:c\\"), pairs(&[("url", "http://x,y"), ("a:b", r"c\")]));
        for wrong in ["a", "a:b,", ",a:b", "a:b,c", "a:b\\"] {
            assert_eq!(tags(wrong), None, "{wrong}");
        }
        assert_eq!(tags(&vec!["a:b"; MOST + 1].join(",")), None);
    }

    #[test]
    fn names_are_different() {
        for (text, expected) in [("a:b,c", Some(vec!["a:b", "c"])), (r"a\,b", Some(vec!["a,b"])), ("a,a", None)] {
            let mut params = params("groupBy", text);
            let names = params.tag_names("groupBy");
            assert_eq!(
                params.finish().is_ok().then_some(names),
                expected.map(|n| n.iter().map(|n| (*n).to_owned()).collect())
            );
        }
    }
}
