package feed

// What services may say is not always what they should: nothing here is trusted to be there
// once, to be asked for, or to have a sign.

// cleanSlice returns the slice without empty and repeated ids and without what is beyond the
// limit, in its order. An empty one has no page after it, and without a cursor there is
// nothing to go on with.
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

func cleanPost(p *Post) {
	p.Likes = max(p.Likes, 0)
	p.Comments = max(p.Comments, 0)
}

// pick sorts what a service said into the places of the ids that it was asked for. Whatever
// nobody asked for is dropped; of what it says twice the first counts. clean may be nil.
func pick[V any](ids []string, said []V, id func(*V) string, clean func(*V)) []*V {
	at := make(map[string]int, len(ids))
	for i, id := range ids {
		at[id] = i
	}
	found := make([]*V, len(ids))
	for i := range said {
		if place, asked := at[id(&said[i])]; asked && found[place] == nil {
			one := said[i] // a copy: what is kept must not keep the rest in memory
			if clean != nil {
				clean(&one)
			}
			found[place] = &one
		}
	}
	return found
}
