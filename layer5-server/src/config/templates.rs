//! A file of `[[template]]` tables, which people keep beside the configuration.
//! In: its text. Out: the templates. Called from: [`super::origin`], `cli/analyze`.

use super::{
    Config, ConfigError, TemplateConfig,
    layer::{self, parse},
};

/// The `[[template]]` tables of a file that holds nothing else; ranges are not checked here.
///
/// # Errors
/// [`ConfigError::Parse`] with the line.
pub fn templates(name: &str, text: &str) -> Result<Vec<TemplateConfig>, ConfigError> {
    let config = parse(name, text)?;
    let others = text.parse::<toml::Table>().unwrap_or_default();
    if let Some(other) = others.keys().find(|key| *key != "template") {
        let lines = layer::lines(text);
        return Err(ConfigError::Parse {
            origin: name.to_owned(),
            line: lines.get(other).copied().unwrap_or(1),
            message: format!("`{other}` has no place in a file of templates"),
            hint: "; it holds [[template]] tables and nothing else".into(),
        });
    }
    Ok(config.template)
}

/// The `[[template]]` tables of a file that holds nothing else, checked.
///
/// # Errors
/// [`ConfigError`] with the line.
pub fn checked_templates(name: &str, text: &str) -> Result<Vec<TemplateConfig>, ConfigError> {
    let config = Config {
        template: templates(name, text)?,
        ..Config::default()
    };
    let lines = layer::lines(text);
    match config.check() {
        Ok(()) => Ok(config.template),
        Err(mut error) => {
            if let ConfigError::Invalid { place, key, .. } = &mut error {
                let line = lines.get(key.as_str()).copied().unwrap_or(1);
                *place = format!("{name}:{line}: ");
            }
            Err(error)
        }
    }
}
