package validate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// missing are the fields with a default that are not there.
func (f *formValidator) missing(obj map[string]any) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(f.fields)) {
		if _, there := obj[name]; !there && f.fields[name].fill != nil {
			names = append(names, name)
		}
	}
	return names
}

// checkDefaults makes sure that all defaults can be written.
func (f *formValidator) checkDefaults() error {
	for name, fld := range f.fields {
		if fld.fill == nil {
			continue
		}
		if fld.style != nil {
			if _, err := fld.style.pairs(fld.whole()); err != nil {
				return fmt.Errorf("the default of field %q %w", name, err)
			}
			continue
		}
		for _, v := range fld.fill {
			if _, err := fld.text(v); err != nil {
				return fmt.Errorf("the default of field %q %w", name, err)
			}
		}
	}
	return nil
}

// whole is the default as one value.
func (fld *formField) whole() any {
	if fld.reader.kinds.array {
		return fld.fill
	}
	return fld.fill[0]
}

// text is a value as a form has it.
func (fld *formField) text(v any) (string, error) {
	if !fld.json {
		return scalarText(v)
	}
	text, err := json.Marshal(v)
	return string(text), err
}
