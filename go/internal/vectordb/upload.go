package vectordb

import (
	"context"
	"fmt"

	"github.com/qdrant/go-client/qdrant"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
)

// uploadBatch is how many points one call carries: a few hundred KB at usual widths.
const uploadBatch = 512

// Upload makes the collection of a release: the vectors that the factory computed, by inner product, with what filters need. Rows that are there
// already are written again, so an upload that broke off is repeated. Fails with an *Error; uploaded is how many points were written.
func (e *Engine) Upload(ctx context.Context, b *bundle.Bundle) (uploaded int, err error) {
	name := Collection(b.Manifest.GetReleaseId())
	exists, err := e.client.CollectionExists(ctx, name)
	if err != nil {
		return 0, failed("look for the collection", name, err)
	}
	k := int(b.Vectors.K)
	if !exists {
		if err := e.create(ctx, b, name); err != nil {
			return 0, err
		}
	}
	columns := columnsOf(b)
	wait := true
	for uploaded < b.Catalog.Len() {
		points := make([]*qdrant.PointStruct, 0, uploadBatch)
		for row := uploaded; row < min(uploaded+uploadBatch, b.Catalog.Len()); row++ {
			points = append(points, &qdrant.PointStruct{
				Id: qdrant.NewIDNum(uint64(row)), Vectors: qdrant.NewVectorsDense(b.Vectors.RetrievalVector[row*k : (row+1)*k]),
				Payload: payloadOf(b.Catalog, columns, int64(row)),
			})
		}
		if _, err := e.client.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: name, Wait: &wait, Points: points}); err != nil {
			return uploaded, failed(fmt.Sprintf("take rows %d to %d", uploaded, uploaded+len(points)-1), name, err)
		}
		uploaded += len(points)
	}
	exact := true
	count, err := e.client.Count(ctx, &qdrant.CountPoints{CollectionName: name, Exact: &exact})
	if err != nil {
		return uploaded, failed("count the rows", name, err)
	}
	if int(count) != uploaded {
		return uploaded, &Error{Doing: "keep the rows", Cause: fmt.Errorf("the collection has %d points for %d items", count, uploaded),
			Fix: "remove the collection and upload again"}
	}
	return uploaded, nil
}

// create makes the empty collection, with an index for each key that filters name.
func (e *Engine) create(ctx context.Context, b *bundle.Bundle, name string) error {
	err := e.client.CreateCollection(ctx, &qdrant.CreateCollection{CollectionName: name,
		VectorsConfig: qdrant.NewVectorsConfig(&qdrant.VectorParams{Size: uint64(b.Vectors.K), Distance: qdrant.Distance_Dot})})
	if err != nil {
		return failed("make the collection", name, err)
	}
	kinds := map[string]qdrant.FieldType{fromKey: qdrant.FieldType_FieldTypeInteger, untilKey: qdrant.FieldType_FieldTypeInteger}
	for _, column := range columnsOf(b) {
		kinds[columnKey+column] = qdrant.FieldType_FieldTypeKeyword
		if b.Catalog.Raw(column).Numbers != nil {
			kinds[columnKey+column] = qdrant.FieldType_FieldTypeFloat
		}
	}
	for key, kind := range kinds {
		if _, err := e.client.CreateFieldIndex(ctx, &qdrant.CreateFieldIndexCollection{CollectionName: name, FieldName: key, FieldType: &kind}); err != nil {
			return failed("index "+key, name, err)
		}
	}
	return nil
}

// columnsOf are the item columns that a filter may name.
func columnsOf(b *bundle.Bundle) []string {
	var names []string
	for _, column := range b.Manifest.GetSchema().GetItem() {
		if b.Catalog.Raw(column.GetName()) != nil {
			names = append(names, column.GetName())
		}
	}
	return names
}
