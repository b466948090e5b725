package emit

import (
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Repair makes U+FFFD of what is not UTF-8 in the texts of attributes that come from the outside, such as the name of a file. OTLP knows no
// other strings: a backend may refuse a whole batch for one of them.
func Repair(attributes pcommon.Map) {
	for _, value := range attributes.All() {
		if value.Type() == pcommon.ValueTypeStr && !utf8.ValidString(value.Str()) {
			value.SetStr(strings.ToValidUTF8(value.Str(), "\uFFFD"))
		}
	}
}
