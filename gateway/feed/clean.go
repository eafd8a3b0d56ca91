package feed

// Answers of services are not trusted: they may have duplicates, values that were not requested, or
// negative counts.

// cleanSlice removes empty and duplicate IDs and those beyond the limit. An empty slice has no next
// page, and neither has one without a cursor.
func cleanSlice(s Slice, limit int) Slice {
	clean := Slice{IDs: make([]string, 0, min(len(s.IDs), limit)), NextCursor: s.NextCursor, HasMore: s.HasMore}
	seen := make(map[string]struct{}, min(len(s.IDs), limit))
	for _, id := range s.IDs {
		if _, again := seen[id]; again || id == "" {
			continue
		}
		if len(clean.IDs) == limit {
			break
		}
		seen[id] = struct{}{}
		clean.IDs = append(clean.IDs, id)
	}
	if len(clean.IDs) == 0 || len(clean.NextCursor) > maxCursor {
		clean.NextCursor = ""
	}
	clean.HasMore = clean.HasMore && clean.NextCursor != ""
	return clean
}

// cleanPost replaces negative counts by 0.
func cleanPost(p *Post) {
	p.Likes = max(p.Likes, 0)
	p.Comments = max(p.Comments, 0)
}

// pick orders the values of a service by the requested ids. It drops values that were not requested,
// and all but the first of one ID. clean may be nil.
func pick[V any](ids []string, values []V, id func(*V) string, clean func(*V)) []*V {
	at := make(map[string]int, len(ids))
	for i, id := range ids {
		at[id] = i
	}
	found := make([]*V, len(ids))
	for i := range values {
		if index, requested := at[id(&values[i])]; requested && found[index] == nil {
			one := values[i] // a copy, so that a cached value does not keep the others in memory
			if clean != nil {
				clean(&one)
			}
			found[index] = &one
		}
	}
	return found
}
